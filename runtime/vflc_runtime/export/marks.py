"""Which rows a party has that may lack some: an input of the model of all parties."""

from __future__ import annotations


def mark(party: str) -> str:
    """The input's name; it is bool [batch, 1]."""
    return f"{party}.present"
