"""Federated reconstruction: rounds of visits to a population of many small parties, as arrays."""
