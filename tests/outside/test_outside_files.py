"""ONNX files read without a library: what is in them, what is refused, and nothing but findings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import encoder, model, value, written
from onnx import TensorProto, helper, numpy_helper
from vflc_common.onnx_file import read_onnx
from vflc_common.onnx_tensors import FileTensor
from vflc_common.onnx_usable import ALLOWED, usable
from vflc_common.onnx_wire import MOST_FIELDS, OnnxFileError

from vflc.onnx_file import Numbers

ELEMENTS = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32",
            "uint64", "bool"]  # fmt: skip


def array(tensor: FileTensor) -> Any:
    """As the reader of a graph takes it."""
    return Numbers.of_bytes(tensor.element, tensor.dims, tensor.content()).array()


def refused(made: onnx.ModelProto | bytes) -> OnnxFileError:
    content = made if isinstance(made, bytes) else made.SerializeToString()
    with pytest.raises(OnnxFileError) as found:
        usable(content)
    return found.value


def test_a_file_is_read_as_onnx_reads_it() -> None:
    made = encoder(5, 7)
    made.graph.node[1].attribute.extend(
        [helper.make_attribute("s", "text"), helper.make_attribute("i", [1, -2])]
    )
    made.graph.node[1].attribute.extend(
        [helper.make_attribute("f", 0.25), helper.make_attribute("fs", [1.5, 2])]
    )
    made.graph.node[1].attribute.append(helper.make_attribute("t", numpy_helper.from_array(np.arange(3))))
    found = read_onnx(made.SerializeToString())
    assert (found.ir, found.opset) == (8, 18)
    assert [(i.name, i.element, i.dims) for i in found.inputs] == [("x", "float32", ("n", 5))]
    assert [(o.name, o.dims) for o in found.outputs] == [("y", ("n", 7))]
    for node, due in zip(found.nodes, made.graph.node, strict=True):
        assert (node.op, list(node.inputs), list(node.outputs)) == (due.op_type, [*due.input], [*due.output])
    attributes = dict(found.nodes[1].attributes)
    assert array(attributes.pop("t")).tolist() == [0, 1, 2]
    assert attributes == {"s": "text", "i": [1, -2], "f": 0.25, "fs": [1.5, 2.0]}
    np.testing.assert_array_equal(array(found.tensors["w"]), numpy_helper.to_array(made.graph.initializer[0]))


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "listed"])
@pytest.mark.parametrize("element", ELEMENTS)
def test_numbers_of_every_element_type(element: str, raw: bool) -> None:
    numbers = np.array([[0, 1, 3], [1, 100, 1]]).astype(element)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(element))
    content: Any = numbers.tobytes() if raw else numbers.ravel().tolist()
    tensor = helper.make_tensor("t", kind, numbers.shape, content, raw)
    made = model([], [], [])
    made.graph.initializer.append(tensor)
    found = read_onnx(made.SerializeToString()).tensors["t"]
    assert (found.element, found.dims) == (element, (2, 3))
    assert array(found).dtype == element
    np.testing.assert_array_equal(array(found), numbers)


def test_reading_imports_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from vflc_common.onnx_usable import usable; usable(open(sys.argv[1], 'rb').read());"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    path = written(tmp_path)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert not {"numpy", "onnx", "onnxruntime", "google"} & set(done.stdout.split())


# --- what is refused ------------------------------------------------------------------------------------


def test_every_allowed_operator_is_one_of_onnx() -> None:
    known = {schema.name: schema for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    newer = {"RMSNormalization", "Swish"}  # of versions of ONNX after the one that is installed here
    assert set(ALLOWED) - newer <= set(known)
    graphs = onnx.defs.OpSchema.AttrType.GRAPH, onnx.defs.OpSchema.AttrType.GRAPHS
    for name in ALLOWED & set(known):
        assert not any(each.type in graphs for each in known[name].attributes.values()), name


@pytest.mark.parametrize("op", ["If", "Loop", "Scan", "RandomNormal", "Bernoulli", "SequenceEmpty", "NonZero",
                                "StringSplit", "Optional", "ImageDecoder", "Anything"])  # fmt: skip
def test_operators_that_are_more_than_a_function_of_their_inputs(op: str) -> None:
    made = encoder()
    made.graph.node[1].op_type = op
    found = refused(made)
    assert found.kind == "parts" and f"`{op}`" in found.message


def test_subgraphs_functions_and_other_domains() -> None:
    made = encoder()
    made.graph.node[1].attribute.append(helper.make_attribute("body", made.graph))
    assert "`body`" in refused(made).message
    made = encoder()
    made.graph.node[1].domain = "com.microsoft"
    assert "com.microsoft" in refused(made).message
    made = encoder()
    body = [helper.make_node("Relu", ["a"], ["b"])]
    made.functions.append(helper.make_function("own", "F", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    assert refused(made).message == "it has functions"


def test_training() -> None:
    made = encoder()
    made.graph.node[1].attribute.append(helper.make_attribute("training_mode", 1))
    assert "training" in refused(made).message
    dropout = helper.make_node("Dropout", ["x", "", "on"], ["y"])
    made = model([dropout], [value("x", "n", 2)], [value("y", "n", 2)], {"on": np.array(True)})
    assert "training" in refused(made).message


def test_data_in_other_files() -> None:
    made = encoder()
    tensor = made.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    tensor.ClearField("raw_data")
    assert "another file" in refused(made).message
    made = encoder()
    made.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    assert "another file" in refused(made).message
    inside = made.graph.initializer[0]
    made = model(
        [helper.make_node("Constant", [], ["y"], value=inside)], [value("x", "n", 2)], [value("y", "n", 2)]
    )
    assert "another file" in refused(made).message


@pytest.mark.parametrize(
    ("sizes", "says"),
    [((1, 2), "batches of 1 rows"), (("n", "m"), "other open sizes"), (("n", None), "other open sizes"),
     ((), "no axis"), (("n", 0), "other open sizes"), (("n", 1 << 20, 1 << 20), "more than")],
)  # fmt: skip
def test_shapes_that_are_not_those_of_rows(sizes: tuple[Any, ...], says: str) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    for ports in ((value("x", *sizes), value("y", "n", 2)), (value("x", "n", 2), value("y", *sizes))):
        found = refused(model([node], [ports[0]], [ports[1]]))
        assert found.kind == "shapes" and says in found.message


def test_elements_that_are_no_numbers() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    for element in (TensorProto.STRING, TensorProto.BOOL, TensorProto.COMPLEX64):
        ports = [value("x", "n", 2, element=element)], [value("y", "n", 2, element=element)]
        assert refused(model([node], *ports)).kind == "shapes"


def test_names_that_lead_nowhere_or_to_two_places() -> None:
    ports = [value("x", "n", 2)], [value("y", "n", 2)]
    for nodes in (
        [helper.make_node("Relu", ["z"], ["y"])],
        [helper.make_node("Relu", ["x"], ["z"])],
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y"])],
        [helper.make_node("Relu", ["x"], ["x"]), helper.make_node("Relu", ["x"], ["y"])],
        [helper.make_node("Relu", ["z"], ["y"]), helper.make_node("Relu", ["x"], ["z"])],
    ):
        assert refused(model(nodes, *ports)).kind == "file"


# --- two readings, and bytes at random --------------------------------------------------------------------


def test_a_second_graph_is_not_passed_over() -> None:
    """Protocol buffers merge what stands twice: what is run would not be what was looked at."""
    content = encoder().SerializeToString()
    hidden = onnx.ModelProto()
    hidden.graph.node.append(helper.make_node("Loop", ["x"], ["y"]))
    assert "two of the field" in refused(content + hidden.SerializeToString()).message
    opsets = onnx.ModelProto(opset_import=[helper.make_opsetid("", 7)])
    assert "version" in refused(content + opsets.SerializeToString()).message


def test_fields_that_are_not_known_are_refused() -> None:
    assert "field 99" in refused(encoder().SerializeToString() + b"\x98\x06\x01").message


def test_a_tensor_that_holds_its_numbers_twice() -> None:
    made = encoder()
    made.graph.initializer[0].float_data.extend([1.0] * 6)
    with pytest.raises(OnnxFileError, match="twice"):
        read_onnx(made.SerializeToString()).tensors["w"].content()


@pytest.mark.parametrize("dims", [[1 << 62, 1 << 62], [-1, 6], [3, 3], [1] * 17])
def test_a_tensor_with_an_impossible_shape_takes_no_memory(dims: list[int]) -> None:
    made = encoder()
    made.graph.initializer[0].ClearField("dims")
    made.graph.initializer[0].dims.extend(dims)
    with pytest.raises(OnnxFileError):
        read_onnx(made.SerializeToString()).tensors["w"].content()


def test_a_field_that_says_it_is_longer_than_the_file() -> None:
    for size in (b"\xff\xff\xff\xff\x07", b"\xff" * 9 + b"\x01", b"\xff" * 10):
        assert refused(b"\x3a" + size + b"abc").kind == "file"


def test_more_fields_than_a_model_has() -> None:
    assert f"{MOST_FIELDS:,}" in refused(b"\x42\x00" * (MOST_FIELDS + 1)).message


def test_deep_nesting_is_not_followed() -> None:
    content = b""
    for _ in range(2000):
        size, head = len(content), b"\x32"
        while True:
            head += bytes([size & 127 | (128 if size > 127 else 0)])
            size >>= 7
            if not size:
                break
        content = head + content
    made = encoder()
    made.graph.node[1].attribute.append(onnx.AttributeProto(name="g", type=onnx.AttributeProto.GRAPH))
    assert refused(made.SerializeToString()).kind == "parts"
    assert refused(content).kind == "file"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_give_a_finding(content: bytes) -> None:
    refused(content)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_a_finding_or_a_model(data: st.DataObject) -> None:
    content = bytearray(encoder().SerializeToString())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found, _ = usable(bytes(content))
        for tensor in found.tensors.values():
            tensor.content()
    except OnnxFileError as wrong:
        assert wrong.message


def test_operators_too_old_to_say_whether_they_train() -> None:
    made = encoder()
    made.opset_import[0].version = 6
    assert "version 6" in refused(made).message


def test_names_of_a_file_cannot_write_to_a_terminal() -> None:
    made = encoder()
    made.graph.node[1].op_type = "\x1b[31mred\r\n" + "x" * 10_000
    message = refused(made).message
    assert message.isprintable() and len(message) <= 300
