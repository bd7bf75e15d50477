"""Subgraphs as Keras models, and the plan that runs them."""
