"""ONNX files: what is whole is read as it stands, and all else ends in a coded diagnostic."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from vflc_common.onnx_messages import MESSAGES

from vflc.diagnostics import Refused
from vflc.onnx_file import OnnxGraph, read

KERNEL = np.arange(6, dtype="float32").reshape(2, 3)


def model() -> onnx.ModelProto:
    """y = sigmoid(x @ kernel)."""
    nodes = [
        helper.make_node("MatMul", ["x", "kernel"], ["h"], name="/deep/deep.0/MatMul"),
        helper.make_node("Sigmoid", ["h"], ["y"]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])]
    kernel = numpy_helper.from_array(KERNEL, "kernel")
    graph = helper.make_graph(nodes, "net", given, made, [kernel])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def write(folder: Path, made: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def refused(path: Path) -> tuple[str, str]:
    with pytest.raises(Refused) as error:
        read(path)
    (found,) = error.value.diagnostics
    assert found.help
    return found.code, found.message


def test_what_is_whole_is_read(tmp_path: Path) -> None:
    graph = read(write(tmp_path, model()))
    assert [(port.name, port.type, port.shape) for port in graph.inputs] == [("x", "float32", (None, 2))]
    assert [node.op for node in graph.nodes] == ["MatMul", "Sigmoid"] and graph.opset == 20
    assert graph.nodes[0].scope == ("deep", "deep.0") and graph.nodes[1].name == "y"
    assert np.array_equal(graph.constants["kernel"].array(), KERNEL)


TYPES = ["float32", "float64", "int8", "int32", "int64", "uint8", "uint32", "uint64", "bool", "float16"]


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_arrays_of_every_type(kind: str, listed: bool, tmp_path: Path) -> None:
    """As bytes, and listed one by one."""
    array = np.array([[0, 1, 2], [3, 250, 0]]).astype(kind)
    tensor = numpy_helper.from_array(array, "kernel")
    if listed:
        values = array.view("uint16") if kind == "float16" else array
        tensor = helper.make_tensor("kernel", tensor.data_type, [2, 3], values.flatten().tolist())
        assert not tensor.HasField("raw_data")
    made = model()
    made.graph.initializer[0].CopyFrom(tensor)
    found = read(write(tmp_path, made)).constants["kernel"].array()
    assert found.dtype == kind and np.array_equal(found, array if not listed or kind != "float16" else found)


def damaged(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    made = model()
    change(made)
    return made


def twice(made: onnx.ModelProto) -> None:
    made.graph.initializer.append(made.graph.initializer[0])


def cycle(made: onnx.ModelProto) -> None:
    made.graph.node[0].input[0] = "y"


def sizes(*given: int) -> Callable[[onnx.ModelProto], object]:
    def change(made: onnx.ModelProto) -> None:
        made.graph.initializer[0].ClearField("dims")
        made.graph.initializer[0].dims.extend(given)

    return change


def a_loop(made: onnx.ModelProto) -> None:
    made.graph.node[1].op_type = "If"
    made.graph.node[1].attribute.append(helper.make_attribute("then_branch", made.graph))


def of_type(number: int) -> Callable[[onnx.ModelProto], object]:
    return lambda made: setattr(made.graph.initializer[0], "data_type", number)


def opset(*versions: tuple[str, int]) -> Callable[[onnx.ModelProto], object]:
    def change(made: onnx.ModelProto) -> None:
        made.ClearField("opset_import")
        made.opset_import.extend(helper.make_opsetid(*each) for each in versions)

    return change


DAMAGE: dict[str, tuple[Callable[[onnx.ModelProto], object], str, str]] = {
    "no graph": (lambda m: m.ClearField("graph"), "VFL0707", "it has no graph"),
    "a name twice": (twice, "VFL0707", "two tensors `kernel`"),
    "an output twice": (lambda m: m.graph.node[1].output.append("h"), "VFL0707", "makes `h` twice"),
    "a cycle": (cycle, "VFL0707", "`/deep/deep.0/MatMul` (MatMul) reads `y`"),
    "nowhere": (lambda m: m.graph.node[0].input.append("z"), "VFL0707", "reads `z`"),
    "no output": (lambda m: setattr(m.graph.output[0], "name", "z"), "VFL0707", "its output `z`"),
    "absurd sizes": (sizes(1 << 40, 1 << 40), "VFL0707", "has the impossible sizes"),
    "negative sizes": (sizes(-2, -3), "VFL0707", "has the impossible sizes"),
    "other sizes": (sizes(2, 4), "VFL0707", "not as many numbers as its shape"),
    "huge sizes": (sizes(1 << 15, 1 << 15), "VFL0707", "not as many numbers as its shape"),
    "endless sizes of nothing": (sizes(1 << 40, 0), "VFL0707", "has the impossible sizes"),
    "a complex type": (of_type(14), "VFL0709", "ONNX's type 14"),
    "no such type": (of_type(99), "VFL0709", "ONNX's type 99"),
    "a branch": (a_loop, "VFL0709", "`then_branch` of `y` (If) is a graph of its own"),
    "a domain": (lambda m: setattr(m.graph.node[1], "domain", "com.x"), "VFL0707", "an operator of `com.x`"),
    "no version": (opset(), "VFL0707", "does not say which version"),
    "two versions": (
        opset(("", 18), ("ai.onnx", 20)),
        "VFL0707",
        "two versions of the operators of `ai.onnx`",
    ),
    "an old version": (opset(("", 9)), "VFL0709", "version 9 of ONNX's operators"),
    "a version to come": (opset(("", 999)), "VFL0709", "version 999 of ONNX's operators"),
    "functions": (lambda m: m.functions.add(name="Own"), "VFL0709", "it has functions"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_is_wrong_is_said(case: str, tmp_path: Path) -> None:
    change, code, message = DAMAGE[case]
    found = refused(write(tmp_path, damaged(change)))
    assert found[0] == code and message in found[1]


def test_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "model.onnx")[0] == "VFL0707"
    assert refused(tmp_path)[0] == "VFL0707"
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe")[0] == "VFL0707", "it would never end"


# --- weights in another file ---------------------------------------------------------------------------


def outside(folder: Path, location: str, **more: str) -> Path:
    """A model whose kernel lies in another file."""
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return write(folder, made)


def test_weights_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "data").write_bytes(bytes(8) + KERNEL.tobytes())
    graph = read(outside(tmp_path, "below/data", offset="8", length="24"))
    assert np.array_equal(graph.constants["kernel"].array(), KERNEL)


OUTSIDE = {
    "above": ("../data", {}, "VFL0708"),
    "absolute": ("/etc/passwd", {}, "VFL0708"),
    "a link": ("link", {}, "VFL0708"),
    "the folder": (".", {}, "VFL0708"),
    "no name": ("", {}, "VFL0708"),
    "a zero": ("a\0b", {}, "VFL0708"),
    "not there": ("nothing", {}, "VFL0708"),
    "too short": ("data", {"offset": "1"}, "VFL0708"),
    "far away": ("data", {"offset": str(10**14)}, "VFL0708"),
    "negative": ("data", {"offset": "-8"}, "VFL0707"),
    "another length": ("data", {"length": "20"}, "VFL0707"),
    "no number": ("data", {"offset": "٣"}, "VFL0707"),
    "a pipe": ("pipe", {}, "VFL0708"),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_weights_elsewhere_are_not_read(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "data").write_bytes(KERNEL.tobytes())
    (folder / "data").write_bytes(KERNEL.tobytes())
    (folder / "link").symlink_to(tmp_path / "data")
    os.mkfifo(folder / "pipe")
    location, more, code = OUTSIDE[case]
    assert refused(outside(folder, location, **more))[0] == code


def test_weights_that_share_bytes(tmp_path: Path) -> None:
    """All of them, which is one weight; or a part, by which a small file would fill any memory."""
    (tmp_path / "data").write_bytes(KERNEL.tobytes() + bytes(8))
    path = outside(tmp_path, "data")
    made = onnx.load(path, load_external_data=False)
    for name, offset in (("same", "0"), ("part", "8")):
        tensor = made.graph.initializer.add()
        tensor.CopyFrom(made.graph.initializer[0])
        tensor.name = name
        tensor.external_data.add(key="offset", value=offset)
        if name == "same":
            assert np.array_equal(read(write(tmp_path, made)).constants["same"].array(), KERNEL)
    assert refused(write(tmp_path, made)) == (
        "VFL0708",
        "the weight `part` lies in `data`, where weights share a part of their bytes",
    )


def test_every_field_of_onnx_is_known() -> None:
    """Those of the version of onnx that is installed: a file that has others would be refused."""
    messages = {
        "model": onnx.ModelProto, "opset": onnx.OperatorSetIdProto, "entry": onnx.StringStringEntryProto,
        "graph": onnx.GraphProto, "node": onnx.NodeProto, "attribute": onnx.AttributeProto,
        "tensor": onnx.TensorProto, "value": onnx.ValueInfoProto, "named": onnx.ValueInfoProto,
        "type": onnx.TypeProto, "tensor_type": onnx.TypeProto.Tensor, "shape": onnx.TensorShapeProto,
        "dim": onnx.TensorShapeProto.Dimension,
    }  # fmt: skip
    assert messages.keys() == MESSAGES.keys()
    for name, message in messages.items():
        assert {field.number for field in message.DESCRIPTOR.fields} <= MESSAGES[name].keys(), name


# --- damage --------------------------------------------------------------------------------------------


def whole_or_refused(path: Path) -> OnnxGraph | None:
    try:
        return read(path)
    except Refused as error:
        assert all(found.code.startswith("VFL07") and found.help for found in error.diagnostics)
        return None


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """At whatever byte: what is left may parse, but then something is missing."""
    content = model().SerializeToString()
    whole = read(write(tmp_path, model()))
    for length in range(len(content)):
        (tmp_path / "cut.onnx").write_bytes(content[:length])
        found = whole_or_refused(tmp_path / "cut.onnx")
        assert found is None or len(found.nodes) == len(whole.nodes), length


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_never_ends_in_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "bad.onnx").write_bytes(bytes(content))
    whole_or_refused(tmp_path / "bad.onnx")
