"""Models that exist already, written as specs: a file is read as data, never run."""
