"""Steps of users as one operator: they are those of onnxruntime, and no program leaves its memory."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import vflc_kernels
from built import ELEMENTS, Built, run
from onnx import TensorProto, helper, numpy_helper
from operators import Array
from vflc_kernels.user_program import Unable
from vflc_kernels.user_steps import Changed, Given, UserSteps, user_steps

pytestmark = pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")
USERS, BATCHES, EXAMPLES, WIDTH, ROWS = 11, 3, 4, 19, 40


def descent(precision: str) -> onnx.GraphProto:
    """An optimizer that keeps the number of its last step beside the weight."""
    built = Built(precision)
    built.inputs = dict.fromkeys(("weight", "gradient", "last"), ("n",)) | {"step": ()}
    rate = built.constant(0.1)
    new = built.add("Sub", "weight", built.add("Mul", rate, "gradient"))
    kept = built.add("Add", built.add("Mul", "last", built.constant(0.5)), "step")
    graph = built.model([new, kept]).graph
    for node in graph.node:
        node.output[:] = [{new: "new.weight", kept: "new.last"}.get(name, name) for name in node.output]
    return graph


def phase(precision: str) -> tuple[Built, list[str]]:
    """Values of every operator: the gradients of `w` and of the rows read, and two results."""
    built = Built(precision)
    built.inputs = {
        "x": ("n", EXAMPLES, 5),
        "w": ("n", 5, WIDTH),
        "table": ("r", WIDTH),
        "mask": ("n", EXAMPLES),
    }
    add, whole = built.add, lambda *values: built.constant(list(values), np.int64)
    rows = add("Gather", "table", "at", axis=0)
    product = add("MatMul", "x", "w")
    mask = add("Unsqueeze", "mask", whole(-1))
    flag = add("Cast", add("Greater", product, rows), to=ELEMENTS[precision])
    both = add("Concat", add("Tanh", product), add("Mul", rows, flag), axis=2)
    part = add("Slice", both, whole(3), whole(3 + WIDTH), whole(2))
    chosen = add("Where", add("LessOrEqual", part, rows), add("Max", part, rows), add("Neg", rows))
    error = add("Mul", add("Sub", chosen, product), mask)
    turned = add("Transpose", "x", perm=[0, 2, 1])
    weight = add("MatMul", turned, error)
    spread = add("Expand", add("ReduceSum", error, whole(2), keepdims=1), add("Shape", error))
    each = add("Div", add("ReduceSum", add("Mul", error, rows), whole(1, 2), keepdims=0), built.constant(3.0))
    score = add("Squeeze", add("ReduceSum", add("Mul", product, rows), whole(2), keepdims=1), whole(2))
    return built, [weight, add("Add", spread, error), each, score]


def model_of(steps: UserSteps, precision: str) -> onnx.ModelProto:
    kinds = {"steps": 7, "batches": 7, "starts": 7, "at": 6}
    info, element = helper.make_tensor_value_info, ELEMENTS[precision]
    graph = helper.make_graph(
        [steps.node],
        "steps",
        [info(name, kinds.get(name, element), None) for name in steps.node.input if name != "constants"],
        [info(name, element, None) for name in steps.node.output],
        [numpy_helper.from_array(steps.constants, "constants")],
    )
    domains = [helper.make_opsetid("", 18), helper.make_opsetid(vflc_kernels.DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def given_of(precision: str, seed: int = 0) -> dict[str, Array]:
    """What a group is given; each user has rows of the table of its own, and reads some of them twice."""
    rng = np.random.default_rng(seed)
    made = {
        "x": rng.normal(size=(BATCHES, USERS, EXAMPLES, 5)),
        "mask": rng.random((BATCHES, USERS, EXAMPLES)) < 0.8,
        "w": rng.normal(size=(USERS, 5, WIDTH)),
        "table": rng.normal(size=(1 + USERS * 3, WIDTH)),
        "w.last": rng.normal(size=(USERS, 5, WIDTH)),
        "table.last": rng.normal(size=(1 + USERS * 3, WIDTH)),
    }
    found = {name: array.astype(precision) for name, array in made.items()}
    own = 1 + 3 * np.arange(USERS)[:, None] + rng.integers(0, 3, (BATCHES, USERS, EXAMPLES))
    found["at"] = np.where(found["mask"] > 0, own, rng.integers(-1, 1, own.shape)).astype(np.int32)
    found["batches"] = np.sort(rng.integers(1, BATCHES + 1, USERS))[::-1].copy()
    found["steps"] = found["batches"] * 2
    active = np.count_nonzero(np.arange(found["steps"].max())[:, None] < found["steps"], axis=1)
    return found | {"starts": np.cumsum(active) - active}


def translated(precision: str) -> tuple[UserSteps, onnx.ModelProto]:
    built, outputs = phase(precision)
    model = built.model(outputs)
    model.graph.input.append(helper.make_tensor_value_info("at", TensorProto.INT32, ("n", EXAMPLES)))
    sizes = {"w": (1, 5, WIDTH), "table": (WIDTH,), "w.last": (1, 5, WIDTH), "table.last": (WIDTH,)}
    given = Given(
        {"x": (1, EXAMPLES, 5), "mask": (1, EXAMPLES)}, {"at": (1, EXAMPLES)}, sizes,
        frozenset({"table", "table.last"}),
    )  # fmt: skip
    changed = [
        Changed("w", (outputs[0],), None, {"last": "w.last"}),
        Changed("table", (outputs[1],), "at", {"last": "table.last"}),
    ]
    return user_steps(model.graph, descent(precision), given, changed, outputs[2:], precision), model


def one_by_one(model: onnx.ModelProto, given: dict[str, Array]) -> list[Array]:
    """Every user's steps in turn, by onnxruntime and NumPy."""
    w, table = given["w"].copy(), given["table"].copy()
    lasts = [given["w.last"].copy(), given["table.last"].copy()]
    each = np.zeros(int(given["steps"].sum()), w.dtype)
    score = np.zeros((len(each), EXAMPLES), w.dtype)
    for user in range(USERS):
        for step in range(given["steps"][user]):
            at = given["at"][turn := step % given["batches"][user], user]
            feeds = {name: given[name][turn, user][None] for name in ("x", "mask")}
            feeds |= {"w": w[user][None], "table": table, "at": np.maximum(at, 0)[None]}
            to_w, to_rows, loss, scores = run(model, feeds)
            place = given["starts"][step] + user
            each[place], score[place] = loss[0], scores[0]
            w[user] -= w.dtype.type(0.1) * to_w[0]
            lasts[0][user] = lasts[0][user] * w.dtype.type(0.5) + (step + 1)
            sums = np.zeros_like(table)
            np.add.at(sums, at[at > 0], to_rows[0][at > 0])
            touched = np.unique(at[at > 0])
            table[touched] -= w.dtype.type(0.1) * sums[touched]
            lasts[1][touched] = lasts[1][touched] * w.dtype.type(0.5) + (step + 1)
    return [w, lasts[0], table, lasts[1], each, score]


def session_of(model: onnx.ModelProto, threads: int = 1) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    library = vflc_kernels.library()
    assert library is not None
    options.register_custom_ops_library(library)
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_all_steps_at_once_are_those_of_one_after_the_other(precision: str) -> None:
    steps, model = translated(precision)
    given = given_of(precision)
    due = one_by_one(model, given)
    close = {"rtol": 1e-4, "atol": 1e-4} if precision == "float32" else {"rtol": 1e-11, "atol": 1e-11}
    first = None
    for threads in (1, 3):
        made = session_of(model_of(steps, precision), threads).run(None, given)
        for found, wanted in zip(made, due, strict=True):
            np.testing.assert_allclose(found.reshape(wanted.shape), wanted, **close)
        first = first or made
        assert all(np.array_equal(a, b) for a, b in zip(first, made, strict=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("at", 999, id="a row that is not there"),
        pytest.param("steps", 99, id="more steps than places"),
        pytest.param("batches", 9, id="more batches than there are"),
        pytest.param("batches", -1, id="fewer batches than none"),
        pytest.param("starts", 999, id="a place that is not there"),
    ],
)
def test_what_does_not_fit_ends_in_an_error(name: str, value: int) -> None:
    steps, _ = translated("float32")
    given = given_of("float32")
    given[name].reshape(-1)[0] = value
    with pytest.raises(Exception, match="does not fit"):
        session_of(model_of(steps, "float32")).run(None, given)


def test_no_program_reaches_beyond_its_memory() -> None:
    steps, _ = translated("float32")
    given, rng, refused = given_of("float32"), np.random.default_rng(5), 0
    model = model_of(steps, "float32")
    attributes = {each.name: each for each in model.graph.node[0].attribute}
    before = list(attributes["program"].ints)
    for _ in range(150):
        attributes["program"].ints[:] = before
        index = int(rng.integers(len(before)))
        attributes["program"].ints[index] = int(rng.choice([-1, 0, 1, 2, 7, 100, 1 << 31, 1 << 62]))
        try:
            session_of(model).run(None, given)
        except Exception as error:  # onnxruntime has no class in common
            assert "steps" in str(error) or "operator" in str(error), error
            refused += 1
    assert refused > 30


@pytest.mark.parametrize("op", ["Softmax", "Gemm", "ReduceMax"])
def test_what_cannot_be_translated_is_left_to_onnxruntime(op: str) -> None:
    built = Built("float32")
    built.inputs = {"x": ("n", 3)}
    made = built.add(op, *(["x"] * (3 if op == "Gemm" else 1)))
    with pytest.raises(Unable):
        user_steps(
            built.model([made]).graph, descent("float32"), Given({"x": (1, 3)}, {}, {}, frozenset()), [],
            [made], "float32",
        )  # fmt: skip


def test_rows_that_are_their_own_gradient_are_read_before_they_change() -> None:
    built = Built("float64")
    built.inputs = {"table": ("r", 2)}
    rows = built.add("Gather", "table", "at", axis=0)
    total = built.add("ReduceSum", rows, built.constant([2], np.int64), keepdims=0)
    given = Given({}, {"at": (1, 3)}, {"table": (2,), "last": (2,)}, frozenset({"table", "last"}))
    changed = [Changed("table", (rows,), "at", {"last": "last"})]
    steps = user_steps(
        built.model([rows, total]).graph, descent("float64"), given, changed, [total], "float64"
    )
    table, at = np.arange(8.0).reshape(4, 2), np.array([[[1, 3, 1]]], np.int32)
    one = {"steps": np.array([1]), "batches": np.array([1]), "starts": np.array([0]), "at": at}
    new, _, sums = session_of(model_of(steps, "float64")).run(
        None, {**one, "table": table, "last": np.zeros_like(table)}
    )
    np.testing.assert_allclose(new, table - 0.1 * np.array([0, 2, 0, 1])[:, None] * table)
    np.testing.assert_array_equal(sums, table[[1, 3, 1]].sum(axis=1)[None])
