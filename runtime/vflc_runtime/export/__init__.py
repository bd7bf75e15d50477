"""Trained models for those who have no vflc."""
