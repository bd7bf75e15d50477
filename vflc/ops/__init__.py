"""Every op, defined once."""
