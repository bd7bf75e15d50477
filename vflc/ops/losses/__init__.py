"""Losses and penalties: a file each. Other packages add theirs as entry points `vflc.losses`."""
