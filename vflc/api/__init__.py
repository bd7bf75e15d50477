"""`import vflc`: compile, fit, evaluate, predict from Python, over what the command line calls."""
