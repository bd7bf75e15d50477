"""What each edge gives away: facts about values, coefficients of gradients, findings, limits, waivers."""
