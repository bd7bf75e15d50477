"""What each edge is known to give away: facts about values, coefficients of gradients, what was found."""
