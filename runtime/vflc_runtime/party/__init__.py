"""One party of a run between machines, in its own process."""
