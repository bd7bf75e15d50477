"""The many users of a population: their rows, what one of them computes, and the hub."""
