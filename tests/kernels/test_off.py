"""Training with our operators: the same bits for any threads, and the numbers of training without."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import vflc_kernels
from vflc_runtime.data.batches import Order, gather
from vflc_runtime.engines import kernels
from vflc_runtime.engines import onnx as onnx_engine
from vflc_runtime.engines.onnx_session import onnx_errors, own_session, self_contained
from vflc_runtime.errors import Failure
from vflc_runtime.run import thread_choice
from vflc_runtime.run.session import Session

from vflc.driver import compile_spec

SPEC = Path(__file__).parents[2] / "specs" / "deepfm" / "deepfm.vfl"
ROWS, BATCH = 600, 200


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deepfm")
    compile_spec(SPEC).write(folder)
    return folder


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    sizes = {
        "alice.UserID": 6041,
        "alice.Gender": 2,
        "alice.Age": 7,
        "alice.Occupation": 21,
        "bob.MovieID": 3953,
    }
    found: dict[str, Any] = {
        name: rng.integers(0, size, ROWS).astype(np.int32) for name, size in sizes.items()
    }
    found["bob.Genres"] = rng.integers(-1, 18, (ROWS, 3)).astype(np.int32)
    found["bob.liked"] = rng.integers(0, 2, (ROWS, 1)).astype(np.float32)
    return found


def trained(bundle: Path, inputs: dict[str, Any], threads: int | None) -> dict[str, Any]:
    session = Session(bundle, programs=("train",), threads=threads)
    for rows in Order(ROWS, 0, 0.0, BATCH).batches(0):
        session.step(gather(inputs, rows), len(rows))
    return session.weights()


@pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")
def test_with_and_without(bundle: Path, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with_them = [trained(bundle, inputs, threads) for threads in (1, 2, 4)]
    monkeypatch.setenv("VFLC_KERNELS", "off")
    without = trained(bundle, inputs, 2)
    for name, weight in without.items():
        for threads in with_them[1:]:
            np.testing.assert_array_equal(threads[name], with_them[0][name])
        np.testing.assert_allclose(with_them[0][name], weight, atol=1e-5)


@pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")
@pytest.mark.parametrize("seed", [0, 1])
def test_the_number_of_threads_may_change_in_any_step(
    seed: int, bundle: Path, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []

    def at_random(most: int) -> Generator[int, float, None]:
        rng = np.random.default_rng(seed)
        while True:
            used.append(int(rng.integers(1, most + 1)))
            yield used[-1]

    due = trained(bundle, inputs, 1)
    for each in (onnx_engine, thread_choice):
        monkeypatch.setattr(each, "cores", lambda: 4)
    monkeypatch.setattr(thread_choice, "searching", at_random)
    found = trained(bundle, inputs, None)
    assert len(set(used)) > 1
    for name, weight in due.items():
        np.testing.assert_array_equal(found[name], weight)


def test_no_file_has_our_operators(tmp_path: Path) -> None:
    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in "xy"]
    node = onnx.helper.make_node("Fused", ["x"], ["y"], domain=vflc_kernels.DOMAIN, program=[0] * 5)
    inner = onnx.helper.make_graph([node], "inner", [], [info[1]])
    branch = onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    for nodes in ([node], [branch]):
        model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", info[:1], info[1:]))
        with pytest.raises(Failure, match=r"has operators of `vflc.kernels`"):
            self_contained(model.SerializeToString(), tmp_path / "forward.onnx")


@pytest.mark.parametrize(
    "nodes",
    [
        [("Neg", ["a"], ["y"], {}), ("Neg", ["y"], ["a"], {})],
        [("Identity", [], ["y"], {})],
        [("Neg", ["x"], [], {}), ("Abs", ["x"], ["y"], {})],
        [("Neg", ["x", "x"], ["a"], {}), ("Abs", ["a"], ["y"], {})],
        [("Add", ["x", ""], ["a"], {}), ("Abs", ["a"], ["y"], {})],
        [("MulAdd", ["x", "x", "x"], ["a"], {}), ("Abs", ["a"], ["y"], {})],
        [("Add", ["x"], ["a"], {}), ("Abs", ["a"], ["y"], {})],
        [("Neg", ["x"], ["a"], {"domain": "of.nobody"}), ("Abs", ["a"], ["y"], {})],
    ],
)
def test_graphs_that_are_none_are_refused_as_before(nodes: list[Any]) -> None:
    """Read in order to replace something, and left to onnxruntime to say what is wrong with them."""
    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in "xy"]
    made = [onnx.helper.make_node(op, given, results, **more) for op, given, results, more in nodes]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(made, "g", info[:1], info[1:]),
        opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9,
    )  # fmt: skip
    with pytest.raises(onnx_errors()):
        own_session(model, 1, "float32")


def test_what_was_replaced_is_logged(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = onnx.load(bundle / "bob" / "update_adam.onnx")
    with caplog.at_level("DEBUG", "vflc_runtime.kernels"):
        own_session(model, 1, "float32")
    if not vflc_kernels.why_not():
        (line,) = caplog.messages
        assert line.startswith("Fused: ") and line.endswith(" of outputs new.weight, new.m, new.v")


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(vflc_kernels, "missing", lambda: "of some reason")
    yield "of some reason"


def test_users_are_told_what_is_missing(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = kernels.warning()
    assert told is not None and told.code == "VFL0775" and missing in told.message
    assert kernels.state() == missing
    assert vflc_kernels.identity() == "no kernels"
    monkeypatch.setenv("VFLC_KERNELS", "off")
    assert kernels.warning() is None


def test_a_switch_that_is_mistyped_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFLC_KERNELS", "OFF")
    told = kernels.warning()
    assert told is not None and told.code == "VFL0775"
    assert "VFLC_KERNELS is 'OFF', which is none of on, off, avx512, avx2, generic" in told.message
    assert told.help is not None and "VFLC_KERNELS" in told.help
    assert vflc_kernels.library() is None
    monkeypatch.setenv("VFLC_KERNELS", "")
    assert vflc_kernels.why_not() == vflc_kernels.missing()


@pytest.mark.skipif(bool(vflc_kernels.why_not()), reason="kernels are not used")
def test_a_library_that_is_cut_off_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path(str(vflc_kernels.library())).read_bytes()
    if whole[:4] != b"\x7fELF":
        pytest.skip("libraries of another form")
    cut = tmp_path / "_kernels.so"
    monkeypatch.setattr(vflc_kernels, "_built", lambda: cut)
    for size in (len(whole) - 1, len(whole) // 2, 1000, 64, 10, 0):
        cut.write_bytes(whole[:size])
        why = vflc_kernels.missing.__wrapped__()
        assert "is cut off" in why or "cannot be loaded" in why
    cut.write_bytes(whole)
    assert not vflc_kernels.missing.__wrapped__()
