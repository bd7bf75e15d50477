"""Protections, each put into the graph where what it protects is made."""
