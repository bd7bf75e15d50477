"""Subgraphs and optimizers as ONNX."""
