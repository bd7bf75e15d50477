"""One pass a file; `pipeline.py` reads as a list of what happens."""
