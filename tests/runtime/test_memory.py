"""Graphs changed so that values lie where they are wanted: same numbers, whatever order nodes run in."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as native
from vflc_runtime.engines.onnx_memory import read_before_written, sized_by_data, unjoined
from vflc_runtime.engines.onnx_session import ort_value, session

FLOAT, node = TensorProto.FLOAT, helper.make_node


def model(nodes: list, inputs: list[str], outputs: list[str], shape: list | None = None) -> ModelProto:
    infos = [
        [helper.make_tensor_value_info(x, FLOAT, shape or ["n"]) for x in names]
        for names in (inputs, outputs)
    ]
    constants = [numpy_helper.from_array(np.array([-1]), "line")]
    graph = helper.make_graph(nodes, "g", *infos, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_value_is_written_over_an_input_after_its_last_reader() -> None:
    """FTRL's case: the new sum does not follow from the root of the old one, which must come first."""
    made = model(
        [
            node("Add", ["a", "g"], ["new.a"]),
            node("Sqrt", ["new.a"], ["r"]),
            node("Sqrt", ["a"], ["s"]),
            node("Sub", ["r", "s"], ["new.w"]),
        ],
        ["a", "g"],
        ["new.a", "new.w"],
    )
    read_before_written(made.graph, {"a": "new.a"})
    producer = next(n for n in made.graph.node if "new.a" in n.output)
    assert producer.op_type == "Add" and len(made.graph.node) == 8
    a, g = np.full(1000, 4, "f"), np.full(1000, 5, "f")
    w = np.empty_like(a)
    running = session(made.SerializeToString(), 1)
    binding = native.SessionIOBinding(running)
    for name, array in {"a": a, "g": g}.items():
        binding.bind_ortvalue_input(name, ort_value(array))
    for name, array in {"new.a": a, "new.w": w}.items():
        binding.bind_ortvalue_output(name, ort_value(array))
    running.run_with_iobinding(binding, None)
    assert (a == 9).all() and (w == 1).all()


def test_what_follows_from_all_readers_stays_as_it_is() -> None:
    made = model([node("Sub", ["g", "m"], ["d"]), node("Add", ["m", "d"], ["new.m"])], ["m", "g"], ["new.m"])
    read_before_written(made.graph, {"m": "new.m"})
    assert len(made.graph.node) == 2


def test_pieces_take_the_place_of_a_concatenation() -> None:
    made = model(
        [
            node("Neg", ["x"], ["p"]),
            node("Reshape", ["p", "line"], ["p.line"]),
            node("Abs", ["y"], ["q"]),
            node("Concat", ["p.line", "q"], ["flat"], axis=0),
            node("Relu", ["x"], ["other"]),
        ],
        ["x", "y"],
        ["flat", "other"],
        [],
    )
    assert unjoined(made.graph, "flat") == ["p", "q"]
    assert [each.name for each in made.graph.output] == ["other", "p", "q"]
    assert [each.op_type for each in made.graph.node] == ["Neg", "Abs", "Relu"]


@pytest.mark.parametrize(
    "last",
    [
        [node("Concat", ["p", "p"], ["flat"], axis=0)],  # twice the same has two places
        [node("Concat", ["p", "x"], ["flat"], axis=0)],  # an input lies elsewhere already
        [node("Concat", ["p", "p.line"], ["flat"], axis=1)],
        [node("Concat", ["p", "p.line"], ["flat"], axis=0), node("Neg", ["flat"], ["other"])],
        [node("Neg", ["p"], ["flat"])],
    ],
)
def test_what_is_no_concatenation_stays(last: list) -> None:
    made = model([node("Neg", ["x"], ["p"]), node("Abs", ["x"], ["p.line"]), *last], ["x"], ["flat"])
    before = made.SerializeToString()
    assert unjoined(made.graph, "flat") == ["flat"]
    assert made.SerializeToString() == before


def test_outputs_whose_size_the_data_tells() -> None:
    made = model([node("Unique", ["x"], ["u"]), node("Neg", ["x"], ["y"])], ["x"], ["y"])
    made.graph.output.append(helper.make_tensor_value_info("u", FLOAT, [None]))
    assert sized_by_data(made.graph) == ["u"]
