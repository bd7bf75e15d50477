"""Tables in: sources, alignment by key, encoders, batches."""
