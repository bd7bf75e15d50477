"""Runs bundles. Imports nothing of the compiler, so that it installs alone at a party."""
