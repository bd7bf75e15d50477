"""Attacks of one kind a file: each is a function on arrays, and what makes looks of it, batch by batch."""
