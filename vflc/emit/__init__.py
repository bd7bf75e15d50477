"""Walkers from the scheduled graph to files; they know no op by name."""
