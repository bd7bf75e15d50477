"""The messages of onnx.proto, as far as a file is read."""

from __future__ import annotations

from vflc_common.onnx_wire import WireField, WireMessages

_F, _BYTES = WireField, "bytes"
_SKIP = WireField("skipped", "skip")
MESSAGES: WireMessages = {
    "model": {
        1: _F("ir", "int"), 7: _F("graph", "graph"), 8: _F("opsets", "opset", True),
        14: _F("metadata", "entry", True), 20: _F("training", _BYTES, True),
        25: _F("functions", _BYTES, True), 2: _F("producer", "text"),
        **dict.fromkeys((3, 4, 5, 6, 26), _SKIP),
    },
    "opset": {1: _F("domain", "text"), 2: _F("version", "int")},
    "entry": {1: _F("key", "text"), 2: _F("value", "text")},
    "graph": {
        1: _F("nodes", "node", True), 2: _F("name", "text"), 5: _F("tensors", "tensor", True),
        11: _F("inputs", "value", True), 12: _F("outputs", "value", True),
        13: _F("values", "named", True), 14: _F("quantized", _BYTES, True), 15: _F("sparse", _BYTES, True),
        **dict.fromkeys((10, 16), _SKIP),
    },
    "node": {
        1: _F("inputs", "text", True), 2: _F("outputs", "text", True), 3: _F("name", "text"),
        4: _F("op", "text"), 5: _F("attributes", "attribute", True), 7: _F("domain", "text"),
        8: _F("overload", "text"), 9: _F("metadata", "entry", True), **dict.fromkeys((6, 10), _SKIP),
    },
    "attribute": {
        1: _F("name", "text"), 2: _F("f", "float"), 3: _F("i", "int"), 4: _F("s", _BYTES),
        5: _F("t", "tensor"), 6: _F("graph", _BYTES), 7: _F("floats", "numbers", True),
        8: _F("ints", "ints"), 9: _F("strings", _BYTES, True), 10: _F("tensors", _BYTES, True),
        11: _F("graphs", _BYTES, True), 13: _SKIP, 14: _F("type", _BYTES),
        15: _F("types", _BYTES, True), 20: _F("kind", "int"), 21: _F("reference", "text"),
        22: _F("sparse", _BYTES), 23: _F("sparses", _BYTES, True),
    },
    "tensor": {
        1: _F("dims", "ints"), 2: _F("element", "int"), 3: _F("segment", _BYTES),
        4: _F("floats", "numbers", True), 5: _F("int32s", "numbers", True),
        6: _F("strings", _BYTES, True), 7: _F("int64s", "numbers", True), 8: _F("name", "text"),
        9: _F("raw", _BYTES), 10: _F("doubles", "numbers", True),
        11: _F("uint64s", "numbers", True), 12: _SKIP, 13: _F("outside", "entry", True),
        14: _F("location", "int"), 16: _SKIP,
    },
    "value": {1: _F("name", "text"), 2: _F("type", "type"), 3: _SKIP, 4: _SKIP},
    "named": {1: _F("name", "text"), 2: _SKIP, 3: _SKIP, 4: _F("metadata", "entry", True)},
    "type": {
        1: _F("tensor", "tensor_type"), 4: _F("sequence", _BYTES), 5: _F("map", _BYTES), 6: _SKIP,
        7: _F("opaque", _BYTES), 8: _F("sparse", _BYTES), 9: _F("optional", _BYTES),
    },
    "tensor_type": {1: _F("element", "int"), 2: _F("shape", "shape")},
    "shape": {1: _F("dims", "dim", True)},
    "dim": {1: _F("size", "int"), 2: _F("name", "text"), 3: _SKIP},
}  # fmt: skip
"""Fields by their numbers; what no model here may have is kept as bytes, to be seen and refused."""
