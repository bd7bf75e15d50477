"""Trains, evaluates and predicts: one step, one epoch, one run folder."""
