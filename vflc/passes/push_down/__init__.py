"""Finds the split of a model that is written as if all tables lay in one: `PushDown`, and its rewrites."""
