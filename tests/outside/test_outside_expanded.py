"""Files whose operators are all known: ordinary blocks that begin with the file's numbers."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from making import ENCODER, PARTIES, REST, bundle, compiled, encoder, expected, model, value, written
from onnx import helper
from safetensors.numpy import load, save
from test_outside_runs import ENGINES, damaged, given, inputs, signed_again, trained
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.bundle.slices import joined
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import check_source, examine

LINE = "e = Encoder(concat(alice.numbers))"
TRAINED = 'block Encoder = onnx("encoder.onnx", trainable = true)\n'


def layers(width: int = 2, hidden: int = 5, out: int = 3) -> onnx.ModelProto:
    """Two layers, as PyTorch exports them, and a factor that is a weight of its own."""
    draw = np.random.default_rng(2)
    weights = {
        name: draw.normal(size=sizes).astype(np.float32)
        for name, sizes in (
            ("fc1.weight", (hidden, width)), ("fc1.bias", (hidden,)),
            ("fc2.weight", (out, hidden)), ("fc2.bias", (out,)), ("scale", (out,)),
        )
    }  # fmt: skip
    nodes = [
        helper.make_node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["h"], transB=1),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "fc2.weight", "fc2.bias"], ["z"], transB=1),
        helper.make_node("Mul", ["z", "scale"], ["y"]),
    ]
    return model(nodes, [value("x", "n", width)], [value("y", "n", out)], weights)


def folding() -> onnx.ModelProto:
    """The same with a kernel and sizes that the file computes of its constants, and a scale of its own."""
    made = layers()
    first = made.graph.node[0]
    first.input[1] = "turned"
    extra = [
        helper.make_node("Constant", [], ["order"], value_ints=[0, 1]),
        helper.make_node("Gather", ["order", "order"], ["same"]),
        helper.make_node("Add", ["same", "same"], ["axes"]),
        helper.make_node("Mul", ["fc1.weight", "half"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["wide"], to=11),
        helper.make_node("Cast", ["wide"], ["turned"], to=1),
    ]
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.5), "half"))
    last = helper.make_node("LeakyRelu", ["y"], ["out"], alpha=0.1)
    nodes = [*extra, *made.graph.node, last]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.output[0].name = "out"
    return made


def using(line: str = LINE, block: str = ENCODER) -> str:
    return f"{PARTIES}\n{block}{line}\n{REST}"


def codes(folder: Path, spec: str) -> list[str]:
    return [each.code for each in check_source(SourceText(str(folder / "m.vfl"), spec), folder)]


def ops(folder: Path, spec: str) -> list[str]:
    found = examine(SourceText(str(folder / "m.vfl"), spec), folder)
    as_it_is = [each.code for each in found.diagnostics] == ["VFL0765"]
    assert found.model is not None and (as_it_is or not found.diagnostics)
    made = [node.op for node in found.model.graph]
    assert not as_it_is or "onnx" in made
    return made


def weights(session: Session) -> dict[str, Any]:
    return {name: array.copy() for each in session.engines.values() for name, array in each.weights().items()}


def test_weights_have_names_below_the_use_and_the_numbers_of_the_file(tmp_path: Path) -> None:
    made = layers()
    written(tmp_path, made)
    found = weights(Session(open_bundle(bundle(tmp_path, using())), threads=1))
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    np.testing.assert_array_equal(found["e.fc1.dense.kernel"], held["fc1.weight"].T)
    np.testing.assert_array_equal(found["e.fc2.dense.bias"], held["fc2.bias"])
    np.testing.assert_array_equal(found["e.scale"], held["scale"])
    assert {name for name in found if name.startswith("e.")} == {
        "e.fc1.dense.kernel", "e.fc1.dense.bias", "e.fc2.dense.kernel", "e.fc2.dense.bias", "e.scale",
    }  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("block", [ENCODER, TRAINED], ids=["frozen", "trained"])
def test_it_is_the_same_as_the_model_written_out(tmp_path: Path, block: str, engine: str) -> None:
    made = layers()
    written(tmp_path, made)
    own = """
first  = dense(concat(alice.numbers), 5, activation = tanh)
second = dense(first, 3)
e      = second * weight(3)
"""
    if block == ENCODER:
        own = own.replace("second * weight(3)", "stop_gradient(second * weight(3))")
    options: Any = {"precision": "float64", "backends": (engine,)}
    folders = [
        bundle(tmp_path, using(LINE, block), **options),
        bundle(tmp_path, f"{PARTIES}{own}{REST}", to="own", **options),
        bundle(tmp_path, using(LINE, block), to="whole", unsplit=True, **options),
    ]
    one, other, whole = (Session(open_bundle(each, engine=engine), engine, threads=1) for each in folders)
    names = {
        "first.dense.kernel": "e.fc1.dense.kernel", "first.dense.bias": "e.fc1.dense.bias",
        "second.dense.kernel": "e.fc2.dense.kernel", "second.dense.bias": "e.fc2.dense.bias",
        "e.weight": "e.scale",
    }  # fmt: skip
    start = weights(one)
    for place in other.engines.values():
        place.load({name: start[names.get(name, name)] for name in place.weights()})
    before = {name: array for name, array in start.items() if name.startswith("e.")}
    found, alike = trained(one), trained(whole)
    for name in found:
        np.testing.assert_allclose(found[name], alike[name], 1e-12, 1e-12)
    changed = {name for name, array in before.items() if not np.array_equal(found[name], array)}
    assert changed == (set(before) if block == TRAINED else set())
    for name, array in trained(other).items():
        np.testing.assert_allclose(array, found[names.get(name, name)], 1e-12, 1e-12)


def test_frozen_it_gives_what_the_file_gives_as_it_is(tmp_path: Path) -> None:
    made = layers()
    sha256 = hashlib.sha256(written(tmp_path, made).read_bytes()).hexdigest()
    as_it_is = f'block Encoder = onnx("encoder.onnx", sha256 = "{sha256}", inputs = [[2]], outputs = [[3]])\n'
    assert "onnx" in ops(tmp_path, using(LINE, as_it_is)) and "onnx" not in ops(tmp_path, using())
    folders = bundle(tmp_path, using()), bundle(tmp_path, using(LINE, as_it_is), to="other")
    one, other = (Session(open_bundle(each), threads=1) for each in folders)
    first, second = trained(one), trained(other)
    for name, array in second.items():
        np.testing.assert_allclose(first[name], array, 1e-5, 1e-5)
    x = np.concatenate([inputs()["alice.Age"], inputs()["alice.Income"]], 1).astype(np.float32)
    np.testing.assert_allclose(given(other), expected(made, x)[0], 1e-5, 1e-5)


def test_each_use_has_weights_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, layers())
    line = "both = concat(Encoder(concat(alice.numbers)), Encoder(concat(alice.numbers) * 2))\ne = both"
    found = set(weights(Session(open_bundle(bundle(tmp_path, using(line, TRAINED))), threads=1)))
    assert {"both.Encoder.scale", "both.Encoder_2.scale", "both.Encoder_2.fc1.dense.kernel"} <= found


def test_what_is_trained_may_come_before_it(tmp_path: Path) -> None:
    written(tmp_path, layers())
    session = Session(
        open_bundle(bundle(tmp_path, using("e = Encoder(dense(concat(alice.numbers), 2))"))), threads=1
    )
    before = weights(session)
    after = trained(session)
    changed = {name for name, array in before.items() if not np.array_equal(after[name], array)}
    assert "e.dense.kernel" in changed and "e.scale" not in changed


def test_several_outputs_and_shapes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["f"]),
        helper.make_node("ReduceSum", ["f", "last"], ["s"], keepdims=0),
        helper.make_node("Reshape", ["f", "deep"], ["d"]),
    ]
    made = model(
        nodes, [value("x", "n", 1, 2)], [value("s", "n"), value("d", "n", 2, 1)],
        {"flat": np.array([-1, 2]), "last": np.array([1]), "deep": np.array([-1, 2, 1])},
    )  # fmt: skip
    written(tmp_path, made)
    line = "x = reshape(concat(alice.numbers), 1, 2)\nall = Encoder(x)\ne = concat(all[0], flatten(all[1]))"
    assert codes(tmp_path, using(line)) == []
    assert codes(tmp_path, using("e = Encoder(concat(alice.numbers))[0]")) == ["VFL0201"]
    assert codes(tmp_path, using("e = Encoder(reshape(concat(alice.numbers), 1, 2))[1]")) != []


# --- places, findings -------------------------------------------------------------------------------------


def test_a_trained_one_over_several_parties_is_split_between_them(tmp_path: Path) -> None:
    written(tmp_path, layers(width=3))
    spec = f"""{PARTIES}
{TRAINED}
e     = Encoder(concat(alice.Age, alice.Income, bob.Price))
logit = dense(e, 1)
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice {{ to bob: Age, Income }}
release bob {{ to alice: liked, Price }}
train {{ optimizer sgd(lr = 0.1)  batch 32 }}
"""
    made = compiled(tmp_path, spec)
    places = {entry["place"]: entry["weights"] for entry in made.manifest["models"]}
    assert places["alice"] == ["e.fc1.dense.kernel"] and "e.fc1.dense.kernel" in places["bob"]
    folders = bundle(tmp_path, spec), bundle(tmp_path, spec, to="whole", unsplit=True)
    fed = inputs() | {"bob.Price": np.random.default_rng(8).normal(size=(24, 1))}
    found = []
    for folder in folders:
        session = Session(open_bundle(folder), threads=1)
        for _ in range(3):
            session.step(
                {name: fed[name] for name in ("alice.Age", "alice.Income", "bob.Price", "bob.liked")}
            )
        engines = session.engines.values()

        found.append(joined((engine.plan for engine in engines), weights(session)))
    for name, array in found[0].items():
        np.testing.assert_allclose(array, found[1][name], 1e-5, 1e-6)


def test_frozen_numbers_are_no_trained_weight(tmp_path: Path) -> None:
    written(tmp_path, layers())
    spec = using().replace("dense(tanh(a + b), 1)", "dense(concat(tanh(a + b), e), 1)")
    assert codes(tmp_path, spec) == ["VFL0301"]
    assert "VFL0301" not in codes(tmp_path, spec.replace(ENCODER, TRAINED))


def test_what_has_no_counterpart_runs_as_it_is_or_is_named(tmp_path: Path) -> None:
    written(tmp_path, encoder())
    assert "onnx" in ops(tmp_path, using())
    (found,) = check_source(SourceText("m.vfl", using(LINE, TRAINED)), tmp_path)
    assert found.code == "VFL0508" and found.span is not None and found.span.text == "true"
    made = model([helper.make_node("Det", ["x"], ["d"])], [value("x", "n", 2, 2)], [value("d", "n")])
    written(tmp_path, made)
    (found,) = check_source(SourceText("m.vfl", using(LINE, TRAINED)), tmp_path)
    assert found.code == "VFL0508" and "Det" in found.message


def test_normalisation_by_the_batch_is_frozen_only_as_it_is(tmp_path: Path) -> None:
    names = ["gamma", "beta", "mean", "var"]
    made = model(
        [helper.make_node("BatchNormalization", ["x", *names], ["y"])],
        [value("x", "n", 2)], [value("y", "n", 2)],
        {name: np.array([1.5, 0.5], np.float32) for name in names},
    )  # fmt: skip
    written(tmp_path, made)
    assert "onnx" in ops(tmp_path, using())
    assert "onnx" not in ops(tmp_path, using(LINE, TRAINED))


def test_parts_of_the_spec_may_name_its_weights(tmp_path: Path) -> None:
    written(tmp_path, layers())
    spec = using(LINE, TRAINED).replace("bce(logit, bob.liked)", "bce(logit, bob.liked) + l2(0.1, e.weights)")
    spec = spec.replace("train { ", "train { optimizer sgd(lr = 0.0) for e.fc1\n ")
    session = Session(open_bundle(bundle(tmp_path, spec)), threads=1)
    before, after = weights(session), trained(session)
    assert np.array_equal(before["e.fc1.dense.kernel"], after["e.fc1.dense.kernel"])
    assert not np.array_equal(before["e.fc2.dense.kernel"], after["e.fc2.dense.kernel"])


def test_checking_needs_no_numpy_and_no_onnx(tmp_path: Path) -> None:
    """A file whose numbers are looked at, folded and transposed, and one that runs as it is."""
    code = (
        "import sys; from vflc.cli.main import run; assert run(['check', sys.argv[1]]) == 0;"
        "print('imported', *sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    path = tmp_path / "m.vfl"
    sha256 = hashlib.sha256(written(tmp_path, folding()).read_bytes()).hexdigest()
    as_it_is = f'block Encoder = onnx("encoder.onnx", sha256 = "{sha256}", inputs = [[2]], outputs = [[3]])\n'
    assert "onnx" not in ops(tmp_path, using(LINE, TRAINED)) and "onnx" in ops(
        tmp_path, using(LINE, as_it_is)
    )
    for spec in (using(LINE, TRAINED), using(LINE, as_it_is)):
        path.write_text(spec)
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        imported = set(done.stdout.splitlines()[-1].split())
        assert not imported & {"numpy", "onnx", "onnxruntime", "google", "tensorflow"}


@pytest.mark.parametrize("name", ["relu", "dense", "return", "x1", "block", "a b", 'q"}\n', "E.x/y:0", "ж"])
def test_weights_of_any_name(tmp_path: Path, name: str) -> None:
    nodes = [helper.make_node("Gemm", ["x", name], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    kernel = np.array([[1, 2], [3, 4]], np.float32)
    written(tmp_path, model(nodes, [value("x", "n", 2)], [value("y", "n", 2)], {name: kernel}))
    found = weights(Session(open_bundle(bundle(tmp_path, using(LINE, TRAINED))), threads=1))
    (own,) = (array for each, array in found.items() if each.startswith("e."))
    np.testing.assert_array_equal(own, kernel)


def test_a_file_that_is_too_long_for_a_block_runs_as_it_is(tmp_path: Path) -> None:
    names = ["x", *(f"v{index}" for index in range(30_000)), "y"]
    nodes = [helper.make_node("Relu", [one], [other]) for one, other in pairwise(names)]
    written(tmp_path, model(nodes, [value("x", "n", 2)], [value("y", "n", 2)]))
    assert "onnx" in ops(tmp_path, using())


def test_constants_are_computed_in_bounds(tmp_path: Path) -> None:
    """A small file may make large constants again and again: that is no block."""
    nodes = [helper.make_node("Expand", ["one", "many"], ["v0"])]
    nodes += [helper.make_node("Add", [f"v{index}", f"v{index}"], [f"v{index + 1}"]) for index in range(99)]
    nodes += [helper.make_node("ReduceSum", ["v99", "all"], ["s"], keepdims=0)]
    nodes += [helper.make_node("Mul", ["x", "s"], ["y"])]
    weights = {"one": np.ones(1, np.float32), "many": np.array([1 << 18]), "all": np.array([0])}
    written(tmp_path, model(nodes, [value("x", "n", 2)], [value("y", "n", 2)], weights))
    assert "onnx" in ops(tmp_path, using())
    (found,) = check_source(SourceText("m.vfl", using(LINE, TRAINED)), tmp_path)
    assert found.code == "VFL0508" and "262,144 numbers" in found.message


def test_weights_that_are_not_finite_are_not_trained(tmp_path: Path) -> None:
    made = layers()
    made.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.full((5, 2), np.nan, np.float32), "fc1.weight")
    )
    written(tmp_path, made)
    (found,) = check_source(SourceText("m.vfl", using(LINE, TRAINED)), tmp_path)
    assert found.code == "VFL0508" and "not finite" in found.message


# --- bundles that somebody changed --------------------------------------------------------------------------


def test_first_values_that_do_not_fit(tmp_path: Path) -> None:
    written(tmp_path, layers())
    folder = bundle(tmp_path, using())
    path = folder / "alice" / "first.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x00")
    damaged(folder, "was changed after it was compiled")
    first = load(content)
    for changed in (
        {name: array for name, array in first.items() if name != "e.scale"},
        first | {"e.scale": np.zeros(4, np.float32)},
        first | {"e.scale": np.full(3, np.nan, np.float32)},
        first | {"e.scale": np.zeros(3, np.int32)},
    ):
        path.write_bytes(save(changed))
        signed_again(folder)
        damaged(folder, "has no first value for weight 'e.scale'")
    path.write_bytes(b"no tensors")
    signed_again(folder)
    damaged(folder, "cannot be read")
