"""The bundle of a population."""
