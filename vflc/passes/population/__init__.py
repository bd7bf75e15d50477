"""What is done to the model of a population: where it lives, its phases, all users at once."""
