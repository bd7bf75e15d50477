"""Bad ONNX models: a coded diagnostic names the node and says what to do, exit code 1, nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx_testing import model, node

from vflc.cli.main import run as vflc
from vflc.diagnostics import Refused
from vflc.importing.run import import_model, weights_of

GIVEN: dict[str, Any] = {"x": ("float", 3), "item": ("int64",), "ids": ("int64", 2)}
WEIGHTS = {
    "e.weight": np.ones((5, 3), "float32") * np.arange(3), "deep.0.weight": np.eye(4, 9, dtype="float32"),
    "deep.0.bias": np.arange(4, dtype="float32"), "w": np.arange(3, dtype="float32"),
    "out.weight": np.arange(4, dtype="float32").reshape(4, 1), "minus": np.array([-1, 9]),
    "one": np.array([1]), "zero": np.array([0]), "t.weight": np.arange(12, dtype="float32").reshape(6, 2),
}  # fmt: skip
NODES = [
    node("Gather", "e.weight item", "e", name="/e/Gather"),
    node("Gather", "t.weight ids", "t", name="/t/Gather"),
    node("ReduceSum", "t one", "sums", keepdims=0, name="/ReduceSum"),
    node("Mul", "x w", "scaled", name="/Mul"),
    node("Concat", "e scaled sums one_more", "joined", axis=1, name="/Concat"),
    node("Gemm", "joined deep.0.weight deep.0.bias", "h", transB=1, name="/deep/deep.0/Gemm"),
    node("Relu", "h", "r", name="/deep/deep.1/Relu"),
    node("MatMul", "r out.weight", "logit", name="/out/MatMul"),
    node("Sigmoid", "logit", "y", name="/Sigmoid"),
]
OWNERS = {"alice": ["x", "item"], "bob": ["ids"]}


def whole(*changed: onnx.NodeProto, nodes: Any = None, **more: Any) -> onnx.ModelProto:
    """A model whose `one_more`, a part of its input, the changed nodes make."""
    made = list(changed) or [node("ReduceMax", "x one", "one_more", keepdims=1, name="/ReduceMax")]
    return model(GIVEN | more, ["y"], nodes or [*made, *NODES], WEIGHTS)


def run(folder: Path, made: onnx.ModelProto, *arguments: str) -> tuple[int, Path]:
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    usual = ("--owner", "alice=x,item", "--owner", "bob=ids", "--label", "bob=liked", "--weights")
    out = folder / "spec.vfl"
    return vflc(["import", str(folder / "model.onnx"), "-o", str(out), *(arguments or usual)]), out


def test_what_is_right_is_written(tmp_path: Path, capsys: Any) -> None:
    code, out = run(tmp_path, whole())
    said = capsys.readouterr()
    assert code == 0, said.err
    assert vflc(["check", str(out)]) == 0 and vflc(["fmt", "--check", str(out)]) == 0
    assert "note: The file holds no loss" in said.out and out.with_suffix(".safetensors").exists()


CASES: dict[str, tuple[tuple[onnx.NodeProto, ...], str, str]] = {
    "no counterpart": (
        (node("CumSum", "x one", "one_more", name="/rnn/CumSum"),),
        "VFL0709", "`/rnn/CumSum` (CumSum) has no counterpart",
    ),
    "another domain": (
        (helper.make_node("FusedGemm", ["x"], ["one_more"], domain="com.microsoft", name="/Fused"),),
        "VFL0707", "an operator of `com.microsoft`, of which the model names no version",
    ),
    "along the batch": (
        (node("ReduceMean", "x zero", "one_more", name="/Mean"),), "VFL0703", "`/Mean` (ReduceMean)",
    ),
    "all axes": ((node("ReduceMax", "x", "one_more", name="/Max"),), "VFL0703", "reduces over the batch"),
    "softmax of the batch": ((node("Softmax", "x", "one_more", axis=0),), "VFL0703", "works along the batch"),
    "into the batch": ((node("Reshape", "x minus", "one_more"),), "VFL0703", "which mixes rows"),
    "rows": ((node("Gather", "x zero", "one_more", axis=0),), "VFL0703", "works along the batch"),
    "no axis": ((node("ReduceMax", "x minus", "one_more"),), "VFL0707", "has axis 9 of 2"),
    "sizes": ((node("MatMul", "x out.weight", "one_more"),), "VFL0707", "multiplies [3] a row by [4, 1]"),
    "transposed": ((node("Transpose", "x", "one_more"),), "VFL0703", "in the place of the batch"),
    "computed ids": (
        (node("Cast", "x", "c", to=1), node("Exp", "c", "f"), node("Gather", "e.weight f", "one_more")),
        "VFL0709", "looks up ids that the model computes",
    ),
    "alpha": (
        (node("Gemm", "x w2 ", "one_more", alpha=0.5, name="/Gemm"),), "VFL0707", "reads `w2`",
    ),
    "setting": ((node("Elu", "x", "one_more", alpha=2.0, name="/Elu"),), "VFL0709", "(Elu) has alpha = 2.0"),
    "type of a setting": ((node("Softmax", "x", "one_more", axis="no"),), "VFL0707", "has axis = no"),
    "equation": (
        (node("Einsum", "x x", "one_more", equation="ab,cb->ac"),), "VFL0703", "rows meet other rows",
    ),
    "constants alone": (
        (node("Exp", "one", "c"), node("CumSum", "c one", "one_more")), "VFL0709", "(CumSum) has no",
    ),
    "text": ((node("Cast", "x", "one_more", to=8),), "VFL0709", "makes string"),
    "shared in two forms": (
        (node("Gemm", "x e.weight", "g", transB=1), node("ReduceMax", "g one", "one_more", keepdims=1)),
        "VFL0709", "`e.weight` is read in several forms",
    ),
    "lacks an input": (
        (node("Mul", "x", "one_more", name="/Half"),), "VFL0707", "`/Half` (Mul) lacks an input",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_node_that_cannot_be_expressed_is_named(case: str, tmp_path: Path, capsys: Any) -> None:
    nodes, code, message = CASES[case]
    done, out = run(tmp_path, whole(*nodes))
    said = capsys.readouterr().err
    assert done == 1 and not out.exists() and not out.with_suffix(".safetensors").exists(), said
    assert f"error[{code}]" in said and message in " ".join(said.split()) and "= help: " in said


def test_all_operators_without_a_counterpart_are_named_at_once(tmp_path: Path, capsys: Any) -> None:
    nodes = node("LSTM", "x", "a", name="/a/LSTM"), node("Conv", "a", "one_more", name="/b/Conv")
    assert run(tmp_path, whole(*nodes))[0] == 1
    said = capsys.readouterr().err
    assert "`/a/LSTM`" in said and "`/b/Conv`" in said and "2 errors" in said


INPUTS: dict[str, tuple[Any, str]] = {
    "open axis": (("float", "n"), "axes of no fixed size"),
    "huge": (("float", 10**6), "axes of no fixed size"),
    "matrix": (("float", 3, 2), "of 2 axes a row"),
}


@pytest.mark.parametrize("case", INPUTS)
def test_an_input_that_is_no_column(case: str, tmp_path: Path, capsys: Any) -> None:
    axes, message = INPUTS[case]
    assert run(tmp_path, whole(x=axes))[0] == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "error[VFL0703]" in said and message in said


def test_inputs_without_a_batch_in_common(tmp_path: Path, capsys: Any) -> None:
    made = whole()
    for port, size in zip(made.graph.input, (4, 5, 4), strict=True):
        port.type.tensor_type.shape.dim[0].dim_value = size
    assert run(tmp_path, made)[0] == 1 and "no batch in common" in capsys.readouterr().err


def test_an_input_that_nothing_reads(tmp_path: Path, capsys: Any) -> None:
    """torch.onnx.export merges inputs that are one tensor: it is said."""
    made = whole(user=("int64",))
    owners = ("--owner", "alice=x,item,user", "--owner", "bob=ids", "--label", "bob=liked")
    assert run(tmp_path, made, *owners)[0] == 0
    assert "note: The file does not read its input `user`" in capsys.readouterr().out


def test_owners_and_labels(tmp_path: Path, capsys: Any) -> None:
    assert run(tmp_path, whole(), "--owner", "alice=x,itm", "--label", "bob=y")[0] == 1
    assert "did you mean `item`?" in capsys.readouterr().err
    assert run(tmp_path, whole(), "--owner", "alice=x,item,ids")[0] == 1
    assert "error[VFL0704]" in capsys.readouterr().err


def test_weights_that_are_not_finite(tmp_path: Path, capsys: Any) -> None:
    made = whole()
    bad = np.array([1, np.nan, 3], "float32")
    made.graph.initializer[3].CopyFrom(numpy_helper.from_array(bad, "w"))
    code, out = run(tmp_path, made)
    assert code == 1 and not out.exists() and "error[VFL0707]" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", bytes(100)])
def test_a_file_that_is_no_model(content: bytes, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    out = tmp_path / "spec.vfl"
    assert vflc(["import", str(path), "-o", str(out), "--owner", "a=x", "--label", "a=y"]) == 1
    assert "error[VFL0707]" in capsys.readouterr().err and not out.exists()


def test_a_checkpoint_of_torch(tmp_path: Path, capsys: Any) -> None:
    """Pickled code, which nothing here runs."""
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04")
    out = tmp_path / "spec.vfl"
    assert (
        vflc(["import", str(tmp_path / "model.pt"), "-o", str(out), "--owner", "a=x", "--label", "a=y"]) == 1
    )
    assert "torch.onnx.export" in capsys.readouterr().err


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_model_never_ends_in_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    """Settings, inputs, sizes and operators replaced by others: a spec with its weights, or a diagnostic."""
    made = whole()
    graph = made.graph
    names = sorted({name for each in graph.node for name in [*each.input, *each.output]} | {"", "?"})
    for _ in range(data.draw(st.integers(1, 3))):
        one = data.draw(st.sampled_from(list(graph.node)))
        match data.draw(st.sampled_from(["op", "input", "attribute", "sizes", "shape", "swap"])):
            case "op":
                one.op_type = data.draw(st.sampled_from(OPERATORS))
            case "input" if one.input:
                at = data.draw(st.integers(0, len(one.input) - 1))
                one.input[at] = data.draw(st.sampled_from(names))
            case "attribute":
                key = data.draw(
                    st.sampled_from(["axis", "keepdims", "transB", "perm", "alpha", "to", "equation"])
                )
                value = data.draw(st.sampled_from([-7, 0, 1, 99, 2.5, "x", [0], [1, 0], [3, 3]]))
                kept = [each for each in one.attribute if each.name != key]
                del one.attribute[:]
                one.attribute.extend([*kept, helper.make_attribute(key, value)])
            case "sizes":
                tensor = data.draw(st.sampled_from(list(graph.initializer)))
                array = numpy_helper.to_array(tensor).reshape(-1)
                kind = data.draw(st.sampled_from(["float32", "float64", "int64", "float16", "bool"]))
                sizes = data.draw(st.sampled_from([(), (1,), (3,), (2, 2), (0,), (1, 5), (3, 3, 1)]))
                tensor.CopyFrom(numpy_helper.from_array(np.resize(array, sizes).astype(kind), tensor.name))
            case "shape":
                port = data.draw(st.sampled_from(list(graph.input)))
                port.type.tensor_type.elem_type = data.draw(st.sampled_from([1, 7, 8, 9, 11]))
                sizes = data.draw(st.lists(st.sampled_from([1, 2, 4]), max_size=3))
                port.CopyFrom(
                    helper.make_tensor_value_info(port.name, port.type.tensor_type.elem_type, sizes)
                )
            case "swap":
                other = data.draw(st.sampled_from(list(graph.node)))
                one.op_type, other.op_type = other.op_type, one.op_type
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    try:
        weights_of(path, import_model(path, OWNERS, {"bob": ["liked"]}))
    except Refused as error:
        assert all(found.code.startswith("VFL0") and found.help for found in error.diagnostics)


OPERATORS = [
    "Add", "Mul", "Pow", "Where", "Cast", "Clip", "Softmax", "ReduceSum", "ReduceL2", "Reshape", "Flatten",
    "Unsqueeze", "Squeeze", "Concat", "Expand", "Slice", "Split", "Transpose", "ConstantOfShape", "Shape",
    "Gemm", "MatMul", "Gather", "BatchNormalization", "LayerNormalization", "Dropout", "OneHot", "Einsum",
    "Constant", "Identity", "Range", "PRelu", "Equal", "Not", "Max",
]  # fmt: skip


def test_a_name_cannot_end_the_comment_that_it_stands_in(tmp_path: Path) -> None:
    odd = "w}\nparty mallory { key ID }\n#"
    nodes = [
        helper.make_node("Add", ["w", "w"], [odd]),
        helper.make_node("Mul", ["x", odd], ["m"]),
        node("ReduceSum", "m one", "y"),
    ]
    weights = {"w": np.arange(2, dtype="float32"), "one": np.array([1])}
    made = model({"x": ("float", 2)}, ["y"], nodes, weights)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    text = import_model(tmp_path / "m.onnx", {"alice": ["x"]}, {"bob": ["y"]}).text
    assert "# `w}?party mallory" in text and "\nparty mallory" not in text
