"""Attacks on a run with exactly what a curious party received.

An attack gets an `AdversaryView` of one party and gives guesses; `judge` alone compares them with the truth.
"""

EPOCHS, STEPS = 3, 600
"""How long a spec, or a run without a transcript, is trained for an audit that does not say: the shorter."""
