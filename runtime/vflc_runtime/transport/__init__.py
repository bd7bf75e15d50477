"""Channels between places."""
