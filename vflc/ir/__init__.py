"""The intermediate representation: typed values in a graph, and the model around it."""
