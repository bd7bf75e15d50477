"""Attacks on a run with exactly what a curious party received.

An attack gets an `AdversaryView` of one party and gives guesses; `judge` alone compares them with the truth.
"""
