"""What editors show of a spec: a feature a file, plain data in and out, over what the driver found."""
