"""What compiler and runtime both say: the words of a bundle, its canonical form, its digest.

Neither numpy nor anything else that takes time is imported here, and neither of the two.
"""
