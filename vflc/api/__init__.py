"""`import vflc`: compile, fit, evaluate and predict from Python, with the same code as the command line."""
