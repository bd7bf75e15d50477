"""ONNX files of somebody else as graphs: their numbers in axes, in bounds, and nothing that runs."""

from vflc.onnx_file.model import OnnxGraph, OnnxNode, OnnxPort
from vflc.onnx_file.numbers import Numbers
from vflc.onnx_file.read import graph_of, read

__all__ = ["Numbers", "OnnxGraph", "OnnxNode", "OnnxPort", "graph_of", "read"]
