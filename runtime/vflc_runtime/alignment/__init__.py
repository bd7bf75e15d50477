"""Finding the rows that all parties have, between processes: each knows its own keys only."""
