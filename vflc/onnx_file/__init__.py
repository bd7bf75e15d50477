"""ONNX files of somebody else: read as data, in bounds, and checked before anything is made of them."""

from vflc.onnx_file.model import OnnxGraph, OnnxNode, OnnxPort
from vflc.onnx_file.numbers import Numbers
from vflc.onnx_file.read import parse, read

__all__ = ["Numbers", "OnnxGraph", "OnnxNode", "OnnxPort", "parse", "read"]
