"""A model of another tool in the language: its graph, what its operators mean, and its text in a spec."""
