"""Graphs in onnxruntime: what a session is told, what a run reads and writes, and rows by numpy's count."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from vflc_runtime.bundle.plan import GraphFile, Plan
from vflc_runtime.engines import onnx_rows_nodes, onnx_session
from vflc_runtime.engines.onnx_memory import read_before_written, sized_by_data, unjoined
from vflc_runtime.engines.onnx_rows_graphs import TAKEN, row_adder, row_updater
from vflc_runtime.engines.onnx_session import GraphSession, ort_value, self_contained, session, short
from vflc_runtime.errors import Failure

node = helper.make_node
Shape = list[int | str | None]


def info(names: dict[str, Shape], element: int = TensorProto.DOUBLE) -> list[Any]:
    return [helper.make_tensor_value_info(name, element, shape) for name, shape in names.items()]


def model(nodes: list[Any], inputs: dict[str, Shape], outputs: dict[str, Shape]) -> ModelProto:
    line = numpy_helper.from_array(np.array([-1]), "line")
    graph = helper.make_graph(nodes, "g", info(inputs), info(outputs), [line])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def plan(made: ModelProto | bytes, precision: str = "float64", **more: Any) -> Plan:
    """As much of a plan as a graph `g` needs, whose file is this."""
    content = made if isinstance(made, bytes) else made.SerializeToString()
    declared: Any = GraphFile("g", "g.onnx", (), ())
    if isinstance(made, ModelProto):
        names = [tuple(each.name for each in part) for part in (made.graph.input, made.graph.output)]
        declared = SimpleNamespace(inputs=names[0], outputs=names[1])
    found: Any = SimpleNamespace(
        precision=precision,
        place="alice",
        programs={},
        training=SimpleNamespace(factors="float32"),
        graphs={"g": declared},
        graph_path=lambda name: Path("alice") / f"{name}.onnx",
        graph_content=lambda name: content,
        **more,
    )
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_session_is_told(threads: int, double: bool) -> None:
    """One operator at a time, on as many threads as were asked for; in float64 nothing is fused."""
    made = model([node("Neg", ["x"], ["y"])], {"x": ["n"]}, {"y": ["n"]}).SerializeToString()
    told = (session(made, threads, True) if double else session(made, threads)).session_options
    levels = onnxruntime.GraphOptimizationLevel
    assert (told.intra_op_num_threads, told.inter_op_num_threads) == (threads, 1)
    assert told.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert told.graph_optimization_level == (levels.ORT_ENABLE_BASIC if double else levels.ORT_ENABLE_ALL)
    assert told.log_severity_level == 4
    spins = told.get_session_config_entry("session.intra_op.allow_spinning")
    assert spins == ("1" if threads > 1 else "0")
    assert told.get_session_config_entry("session.force_spinning_stop") == "1"


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "threads", "used"), [(63, 2, 1), (64, 2, 2), (65, 2, 2), (64, 1, 1)])
def test_rows_decide_on_threads(rows: int, threads: int, used: int, precision: str, monkeypatch: Any) -> None:
    made: list[tuple[int, bool]] = []
    original = onnx_session.session

    def noted(content: bytes, count: int, double: bool = False, **more: Any) -> Any:
        made.append((more.get("pooled") or count, double))
        return original(content, count, double, **more)

    monkeypatch.setattr(onnx_session, "session", noted)
    graph = model([node("Neg", ["x"], ["y"])], {"x": ["n"]}, {"y": ["n"]})
    running = GraphSession(plan(graph, precision), "g", threads, {})
    assert made == [(threads, precision == "float64")]
    values = {"x": ort_value(np.ones(rows))}
    for _ in range(2):
        running.run(values, rows)
    assert made[1:] == ([] if used == threads else [(used, precision == "float64")])
    assert (values["y"].numpy() == -1).all()


def test_series_are_made_in_float64_by_one_thread(monkeypatch: Any) -> None:
    """Whatever a plan's precision is: the same bits on every machine."""
    made: list[Any] = []
    original = onnx_session.session

    def noted(content: bytes, threads: int, double: bool = False) -> Any:
        made.append((threads, double))
        return original(content, threads, double)

    monkeypatch.setattr(onnx_session, "session", noted)
    graph = model(
        [node("Neg", ["step"], ["b"]), node("Abs", ["step"], ["a"])],
        {"step": ["n"]},
        {"b": ["n"], "a": ["n"]},
    )
    series = onnx_session.load_series(plan(graph, "float32"), "g")
    found = series(np.array([1.0, 2.0]))
    assert {name: numbers.tolist() for name, numbers in found.items()} == {"b": [-1, -2], "a": [1, 2]}
    assert made == [(1, True)]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("  one\ntwo"), "one"),
        (ValueError("x" * 400), "x" * 300),
        (ValueError(" \n"), "ValueError"),
        (KeyError(), "KeyError"),
    ],
)
def test_the_first_line_of_an_error(error: Exception, told: str) -> None:
    assert short(error) == told


def test_graphs_that_cannot_be_loaded_or_run() -> None:
    wrong = model([node("NoSuch", ["x"], ["y"])], {"x": ["n"]}, {"y": ["n"]})
    with pytest.raises(Failure, match=r"alice/g\.onnx cannot be loaded: ") as refused:
        GraphSession(plan(wrong), "g", 1, {})
    assert refused.value.code == "VFL0613" and "\n" not in refused.value.message
    add = model([node("Add", ["x", "z"], ["y"])], {"x": ["n"], "z": ["m"]}, {"y": [None]})
    running = GraphSession(plan(add), "g", 1, {})
    values = {"x": ort_value(np.ones(2)), "z": ort_value(np.ones(3))}
    with pytest.raises(Failure, match="graph 'g' of 'alice' cannot run: ") as refused:
        running.run(values, 2)
    assert refused.value.code == "VFL0613"


@pytest.mark.parametrize("side", [0, 1])
def test_a_graph_has_the_inputs_and_outputs_of_the_plan(side: int) -> None:
    made = model([node("Neg", ["x"], ["y"])], {"x": ["n"]}, {"y": ["n"]})
    lacking = plan(made)
    declared: Any = lacking.graphs["g"]
    if side:
        declared.outputs = ("y", "z")
    else:
        declared.inputs = ()
    with pytest.raises(Failure, match="has other inputs or outputs than") as refused:
        onnx_session.read_model(lacking, "g")
    assert refused.value.code == "VFL0613"


def test_a_graph_that_keeps_its_numbers_elsewhere() -> None:
    made = model([node("Neg", ["x"], ["y"])], {"x": ["n"]}, {"y": ["n"]})
    assert self_contained(content := made.SerializeToString(), Path("here.onnx")) == content
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(Failure, match=r"here\.onnx keeps data outside of the bundle") as refused:
        self_contained(made.SerializeToString(), Path("here.onnx"))
    assert refused.value.code == "VFL0613"
    with pytest.raises(Failure, match=r"here\.onnx is not an ONNX model: "):
        self_contained(b"\x08\x99nonsense", Path("here.onnx"))


def pieces() -> ModelProto:
    """Outputs of all kinds: put together of pieces, sized by what the numbers are, and plain."""
    nodes = [
        node("Abs", ["y"], ["abs"]),
        node("Unique", ["y"], ["distinct"]),
        node("Neg", ["x"], ["p"]),
        node("Reshape", ["p", "line"], ["p.line"]),
        node("Relu", ["w"], ["q"]),
        node("Concat", ["p.line", "q"], ["flat"], axis=0),
        node("Greater", ["y", "abs"], ["none"]),
        node("Not", ["none"], ["all"]),
        node("Compress", ["y", "all"], ["same"]),
        node("Sub", ["y", "abs"], ["less"]),
    ]
    outputs: dict[str, Shape] = {"abs": ["n"], "flat": [8], "distinct": [None], "less": ["n"], "same": [None]}
    return model(nodes, {"x": [2, 3], "w": [2], "y": ["n"]}, outputs)


NUMBERS = st.lists(st.integers(-2, 2).map(float), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(NUMBERS, st.integers(-3, 3), st.booleans()), min_size=1, max_size=6))
def test_a_session_runs_as_numpy_does(batches: list[tuple[list[float], int, bool]]) -> None:
    """Whatever changes from one batch to the next: sizes, numbers where they lie, or where they lie."""
    home = np.full(8, np.nan)
    running = GraphSession(plan(pieces()), "g", 1, {"flat": home, "elsewhere": np.zeros(1)})
    held: dict[str, np.ndarray[Any, Any]] = {}
    values: dict[str, Any] = {}
    for numbers, number, moves in batches:
        given = {
            "x": np.arange(6.0).reshape(2, 3) * number,
            "w": np.array([number, 1.0]),
            "y": np.array(numbers),
        }
        for name, array in given.items():
            if moves or name not in held or held[name].shape != array.shape:
                held[name] = array
                values[name] = ort_value(array)
            held[name][...] = array
        running.run(values, len(numbers))
        y = given["y"]
        found = {name: values[name].numpy() for name in ("abs", "flat", "distinct", "less", "same")}
        np.testing.assert_array_equal(home, [*-given["x"].reshape(-1), *np.maximum(given["w"], 0)])
        np.testing.assert_array_equal(found["flat"], home)
        np.testing.assert_array_equal(found["abs"], np.abs(y))
        np.testing.assert_array_equal(found["distinct"], np.unique(y))
        np.testing.assert_array_equal(found["less"], y - np.abs(y))
        np.testing.assert_array_equal(found["same"], y)


@pytest.mark.parametrize("size", [7, 9])
def test_a_home_of_another_size(size: int) -> None:
    running = GraphSession(plan(pieces()), "g", 1, {"flat": np.zeros(size)})
    values = {"x": ort_value(np.ones((2, 3))), "w": ort_value(np.ones(2)), "y": ort_value(np.ones(1))}
    with pytest.raises(Failure, match="gives p and q of other sizes than their weights"):
        running.run(values, 1)


def test_which_sizes_the_data_tells() -> None:
    """None where every operator's output has the size that its inputs give it."""
    assert sized_by_data(pieces().graph) == ["distinct", "same"]
    plain = model([node("Neg", ["x"], ["y"])], {"x": [None]}, {"y": [None]})
    assert sized_by_data(plain.graph) == []


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        # what is reshaped is read again, as it lies there
        ([node("Abs", ["p.line"], ["other"])], ["p.line", "q"]),
        # a piece that is an output already has its own place
        ([node("Identity", ["q"], ["other"])], ["p", "q"]),
    ],
)
def test_what_a_concatenation_is_made_of(nodes: list[Any], found: list[str]) -> None:
    made = model(
        [
            node("Neg", ["x"], ["p"]),
            node("Reshape", ["p", "line"], ["p.line"]),
            node("Abs", ["y"], ["q"]),
            node("Concat", ["p.line", "q"], ["flat"], axis=0),
            *nodes,
        ],
        {"x": [2, 2], "y": ["n"]},
        {"flat": [None], "other": [None]},
    )
    assert unjoined(made.graph, "flat") == found
    given = {"x": np.arange(4.0).reshape(2, 2), "y": np.array([-1.0])}
    outputs = [each.name for each in made.graph.output]
    assert outputs == ["other", *found]
    held = {name: ort_value(array) for name, array in given.items()}
    run = session(made.SerializeToString(), 1).run_with_ort_values(held, outputs, None)
    flat = np.concatenate([run[1].numpy().reshape(-1), run[2].numpy()])
    np.testing.assert_array_equal(flat, [0, -1, -2, -3, 1])


def test_a_piece_that_is_an_output_stays_in_its_concatenation() -> None:
    nodes = [
        node("Neg", ["x"], ["p"]),
        node("Abs", ["x"], ["q"]),
        node("Concat", ["p", "q"], ["flat"], axis=0),
    ]
    made = model(nodes, {"x": ["n"]}, {"flat": [None], "q": ["n"]})
    assert unjoined(made.graph, "flat") == ["flat"]


@pytest.mark.parametrize("readers", range(4))
def test_a_value_waits_for_every_reader(readers: int) -> None:
    """What is written over an input follows from all that read it, and has the numbers it had."""
    late = [node("Sqrt", ["a"], [f"late.{index}"]) for index in range(readers)]
    made = model(
        [node("Add", ["a", "g"], ["new.a"]), node("Neg", ["new.a"], ["after"]), *late],
        {"a": ["n"], "g": ["n"]},
        {"new.a": ["n"], "after": ["n"], **{f"late.{index}": ["n"] for index in range(readers)}},
    )
    read_before_written(made.graph, {"a": "new.a"})
    before, found = {each: n for n in made.graph.node for each in n.output}, {"new.a"}
    waiting = ["new.a"]
    while waiting:
        step = before.get(waiting.pop())
        new = set() if step is None else {*step.input} - found
        found |= new
        waiting += new
    assert found >= {f"late.{index}" for index in range(readers)}
    given = {"a": np.full(3, 4.0), "g": np.full(3, 5.0)}
    held = {name: ort_value(array) for name, array in given.items()}
    outputs = [each.name for each in made.graph.output]
    run = session(made.SerializeToString(), 1).run_with_ort_values(held, outputs, None)
    assert [set(run[index].numpy()) for index in range(len(outputs))] == [{9}, {-9}, *[{2}] * readers]


def optimizer(slots: list[str]) -> ModelProto:
    """Each slot is halved and takes the gradient; the weight loses what follows from step and slots."""
    constants = [
        numpy_helper.from_array(np.array(number), name) for name, number in [("half", 0.5), ("two", 2.0)]
    ]
    nodes, names = [node("Mul", ["gradient", "step"], ["start"])], ["weight", "gradient", "step", *slots]
    last = "start"
    for slot in slots:
        nodes += [
            node("Mul", [slot, "half"], [f"{slot}.half"]),
            node("Add", [f"{slot}.half", "gradient"], [f"new.{slot}"]),
        ]
        nodes += [
            node("Mul", [last, "two"], [f"{slot}.twice"]),
            node("Sub", [f"new.{slot}", f"{slot}.twice"], [f"{slot}.total"]),
        ]
        last = f"{slot}.total"
    nodes.append(node("Sub", ["weight", last], ["new.weight"]))
    shapes: dict[str, Shape] = {name: [] if name == "step" else ["n"] for name in names}
    graph = helper.make_graph(
        nodes, "g", info(shapes), info({f"new.{name}": ["n"] for name in ("weight", *slots)}), constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def by_hand(weight: Any, gradient: Any, step: float, slots: list[Any]) -> tuple[Any, list[Any]]:
    last, new = gradient * step, []
    for slot in slots:
        new.append(slot * 0.5 + gradient)
        last = new[-1] - 2 * last
    return weight - last, new


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("parts", [0, 1, 2])
@pytest.mark.parametrize("slots", [[], ["m"], ["m", "v"]])
@pytest.mark.parametrize("widths", [[2], [2, 1, 3]])
def test_rows_are_updated_where_they_lie(
    widths: list[int], slots: list[str], parts: int, taken: bool
) -> None:
    """Those named, in all tables and slots, by the sum of their gradients; no other row changes."""
    rng = np.random.default_rng()
    made, total = optimizer(slots), sum(widths)
    given_plan = plan(made)
    rule: Any = SimpleNamespace(graph="g")
    updater = row_updater(given_plan, rule, widths, dict.fromkeys(slots, total), parts, taken)
    tables = [rng.normal(size=(6, width)) for width in widths]
    kept, rows, step = rng.normal(size=(6, total * len(slots))), np.array([4, 1, 3]), 7.0
    given: dict[str, Any] = {"rows": rows, "step": np.array(step)}
    given |= {f"table.{index}": table for index, table in enumerate(tables)}
    places = [rng.integers(0, 4, (5 + part, 1)) for part in range(parts)]  # of 3 rows, and none of them
    summed = np.zeros((4, total))
    for part, at in enumerate(places):
        given[f"at.{part}"] = at
        sides = [rng.normal(size=(len(at), 1, width)) for width in widths]
        given |= {f"gradient.{index}.{part}": side for index, side in enumerate(sides)}
        np.add.at(summed, at[:, 0], np.concatenate(sides, axis=2)[:, 0])
    if parts:
        given["count"] = np.array([4])
        adder = {name: given[name] for name in given if name.split(".")[0] in ("at", "gradient", "count")}
        held = {name: ort_value(array) for name, array in adder.items()}
        alone = row_adder("float64", tuple(widths), parts).run_with_ort_values(held, ["sums"], None)
        np.testing.assert_allclose(alone[0].numpy(), summed, rtol=0, atol=1e-12)
    else:
        given["gradient"] = summed[:3] = rng.normal(size=(3, total))
    if slots:
        given["kept"] = kept
    weight, apart = np.concatenate(tables, axis=1), np.split(kept, len(slots), axis=1) if slots else []
    if taken:
        for name, array in zip(["weight", *slots], [weight, *apart], strict=True):
            given[TAKEN + name] = array[rows] + 1  # caught up: not as the tables have it
    before = [table.copy() for table in (weight, *apart)]
    new, new_slots = by_hand(
        before[0][rows] + taken, summed[:3], step, [slot[rows] + taken for slot in before[1:]]
    )
    outputs = [f"new.table.{index}" for index in range(len(widths))] + ["new.kept"] * bool(slots)
    held = {name: ort_value(array) for name, array in given.items()}
    run = [each.numpy() for each in updater.run_with_ort_values(held, outputs, None)]
    found = [
        np.concatenate(run[: len(widths)], axis=1),
        *(np.split(run[-1], len(slots), axis=1) if slots else []),
    ]
    for was, now, due in zip(before, found, [new, *new_slots], strict=True):
        np.testing.assert_allclose(now[rows], due, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(np.delete(now, rows, 0), np.delete(was, rows, 0))


def test_an_optimizer_that_updates_no_rows() -> None:
    made = optimizer(["m"])
    made.graph.node[0].op_type = "NoSuch"
    rule: Any = SimpleNamespace(graph="g")
    with pytest.raises(Failure, match="'g' of 'alice' updates no rows: ") as refused:
        row_updater(plan(made), rule, [2], {"m": 2}, 1, False)
    assert refused.value.code == "VFL0613"


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_rows_are_added_by_one_thread(precision: str, monkeypatch: Any) -> None:
    """Two would add to one row at once, and lose summands."""
    made: list[tuple[int, str]] = []

    def noted(model: Any, threads: int, precision: str) -> None:
        made.append((threads, precision))

    monkeypatch.setattr(onnx_rows_nodes, "own_session", noted)
    row_adder.__wrapped__(precision, (2, 3), 1)
    row_updater(plan(optimizer(["m"]), precision), SimpleNamespace(graph="g"), [2], {"m": 2}, 1, False)
    assert made == [(1, precision)] * 2
