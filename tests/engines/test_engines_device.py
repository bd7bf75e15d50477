"""A place on a device: on the processor with the bindings that a GPU has, and on a GPU where there is one."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from granting import granted
from vflc_runtime.engines import cuda as gpu
from vflc_runtime.engines import device_feeds, onnx_device
from vflc_runtime.engines.device import Processor
from vflc_runtime.engines.device_graphs import DeviceGraph
from vflc_runtime.engines.onnx_device import DeviceEngine
from vflc_runtime.engines.ungathered import Rows
from vflc_runtime.errors import Failure
from vflc_runtime.finite import NotFinite
from vflc_runtime.run.session import Session
from vflc_runtime.transport.messages import Envelope

from vflc.cli.main import run
from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party alice {{ key k
  feature i: int -> index(7)
  feature x: float }}
party bob {{ key k
  feature g: string -> split(" ") -> vocab("u", "v", "w")
  label y: int }}
block Net(fields) {{
  e = embed(fields, dim = 3)
  return flatten(e)
}}
h = dropout(mlp(concat(Net([alice.i]), alice.x), [5]), 0.25)
b = sum(embed([bob.g], dim = 2), axis = field)
fuse at bob {{ logit = dense(concat(dense(h, 4), b), 1) }}
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train {{ optimizer {optimizer}
  {settings}
  batch 6 }}
"""
SIZES = (6, 6, 6, 4, 6, 4, 4, 6)
"""Rows of steps: each size comes often enough to be bound for good, between others."""


def there() -> bool:
    """Whether there is a GPU that onnxruntime can use."""
    try:
        return bool(gpu.cuda())
    except Failure:
        return False


NO_GPU = pytest.mark.skipif(not there(), reason="there is no GPU that onnxruntime can use")


@pytest.fixture(params=["processor", pytest.param("gpu", marks=NO_GPU)])
def device(request: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the engine `cuda` runs on."""
    found = Processor() if request.param == "processor" else gpu.cuda()
    monkeypatch.setattr(onnx_device, "cuda", lambda: found)
    return found


def bundle(folder: Path, precision: str, optimizer: str = "adam(0.1)", settings: str = "") -> Path:
    text = SPEC.format(optimizer=optimizer, settings=settings)
    compile_source(SourceText("device.vfl", granted(text)), precision=precision).write(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("device") / "b", "float64")


def batch(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    genres = rng.integers(-1, 3, (rows, 3)).astype(np.int32)
    return {
        "alice.i": rng.integers(0, 7, rows).astype(np.int32),
        "alice.x": rng.normal(size=(rows, 1)),
        "bob.g": -np.sort(-genres, axis=1),
        "bob.y": rng.integers(0, 2, (rows, 1)).astype(np.float64),
    }


def differing(one: Session, other: Session) -> float:
    """The largest difference of any weight or slot of two sessions."""
    found = [
        np.abs(a - b).max() for a, b in zip(one.weights().values(), other.weights().values(), strict=True)
    ]
    for place, engine in one.engines.items():
        mine, others = engine.slots(), other.engines[place].slots()
        assert mine.keys() == others.keys() and engine.stored().keys() == other.engines[place].stored().keys()
        found += [np.abs(mine[n] - others[n]).max() for n in mine if not n.endswith("/last")]
    return float(max(found))


OPTIMIZERS = {
    "adam": ("adam(0.1)", ""),
    "clipped": ("adam(0.1)", "clip_norm 0.01"),
    "adagrad": ("adagrad(0.1)", ""),
    "ftrl": ("ftrl(0.1, l1 = 0.001)", ""),
    "momentum": ("sgd(0.1, momentum = 0.9)", ""),
    "adamw": ("adamw(0.01, weight_decay = 0.1)", ""),
    "rmsprop": ("rmsprop(0.01)", ""),
    "lazy": ("adam(0.1, lazy = true)", "clip_norm 0.01"),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_trains_as_the_processor_does(name: str, device: Any, tmp_path: Path) -> None:
    """Any optimizer, rows that are read and rows that are not, steps of several sizes, in float64."""
    folder = bundle(tmp_path, "float64", *OPTIMIZERS[name])
    usual, there = Session(folder), Session(folder, engine="cuda")
    rng = np.random.default_rng(3)
    for rows in SIZES:
        inputs = batch(rng, rows)
        one, other = usual.step(inputs), there.step(inputs)
        assert other.loss == pytest.approx(one.loss, rel=1e-12)
        np.testing.assert_allclose(other.predictions["y"], one.predictions["y"], rtol=1e-12)
        if usual.steps in (3, 5):
            assert there.evaluate(inputs).loss == pytest.approx(usual.evaluate(inputs).loss, rel=1e-12)
    for engine in usual.engines.values():  # all rows there, as they are on a device
        engine.load(engine.weights())
    assert differing(there, usual) < 1e-12


def test_runs_go_on_from_one_to_the_other(folder: Path, device: Any) -> None:
    """What rows missed on the processor is made up for first; what a device saved misses nothing."""
    usual, rng = Session(folder), np.random.default_rng(4)
    for _ in range(5):
        usual.step(batch(rng, 4))
    there = Session(folder, engine="cuda")
    back = Session(folder)
    for taken, given in ((there, usual), (back, there)):
        for place, engine in taken.engines.items():
            other = given.engines[place]
            weights = {**other.weights(), **other.stored()}
            engine.load({n: w.copy() for n, w in weights.items()}, other.slots(), given.steps)
        taken.steps = given.steps
        for _ in range(3):
            inputs = batch(rng, 6)
            assert taken.step(inputs).loss == pytest.approx(usual.step(inputs).loss, rel=1e-12)


def test_graphs_are_bound_for_good_the_second_time(
    folder: Path, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions are loaded for the first step and the second of a size, and for no other."""
    made: list[bool] = []
    original = DeviceGraph._session

    def noted(self: DeviceGraph, model: Any, capture: bool) -> Any:
        made.append(
            all(size.dim_value for given in model.graph.input for size in given.type.tensor_type.shape.dim)
        )
        return original(self, model, capture)

    monkeypatch.setattr(DeviceGraph, "_session", noted)
    session, rng, counts = Session(folder, engine="cuda"), np.random.default_rng(5), []
    for rows in (6, 6, 6, 4, 4, 6, 4):
        inputs = batch(rng, rows)
        inputs["bob.g"][:] = 1  # as wide in each batch
        session.step(inputs)
        counts.append(len(made))
    assert counts[0] < counts[1] == counts[2] == counts[3] < counts[4] == counts[5] == counts[6]


def test_rows_are_gathered_where_they_lie(folder: Path, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are copied once; a batch sends its rows' numbers. Where there is no room, rows are sent."""
    rng = np.random.default_rng(8)
    whole = batch(rng, 20)
    for room in (device_feeds.ROOM, 0):
        monkeypatch.setattr(device_feeds, "ROOM", room)
        usual, there = Session(folder), Session(folder, engine="cuda")
        for rows in (6, 6, 6, 4, 6):
            indices = rng.integers(0, 20, rows)
            one = usual.step(Rows(whole, indices), rows)
            other = there.step(Rows(whole, indices), rows)
            assert other.loss == pytest.approx(one.loss, rel=1e-12)
            np.testing.assert_allclose(other.predictions["y"], one.predictions["y"], rtol=1e-12)
            assert {k: v[1].tolist() for k, v in other.measured.items()} == {
                k: v[1].tolist() for k, v in one.measured.items()
            }
        values = there.engines["alice"].values()
        assert "alice.i" in values and not any("all" in each for each in values)


@pytest.mark.parametrize("heard", [False, True])
def test_what_is_not_finite_does_not_leave(heard: bool, folder: Path, device: Any) -> None:
    """Whether a message stays on the device or is read on the way."""
    seen: list[Envelope] = []
    session = Session(folder, engine="cuda", listen=seen.append if heard else None)
    inputs = batch(np.random.default_rng(6), 6)
    session.step(inputs)
    assert all(isinstance(tensor, np.ndarray) for each in seen for tensor in each.tensors.values())
    inputs["alice.x"][2] = np.nan
    with pytest.raises(NotFinite, match="what 'alice' is about to send to 'bob' on edge"):
        session.step(inputs)


def test_values_and_arrays_are_read_and_set(folder: Path, device: Any) -> None:
    """What is read is a copy; what is put in its place is read from then on."""
    session = Session(folder, engine="cuda")
    engine: Any = session.engines["alice"]
    assert isinstance(engine, DeviceEngine)
    inputs = batch(np.random.default_rng(7), 6)
    session.step(inputs)
    np.testing.assert_array_equal(engine.get("alice.i"), inputs["alice.i"])
    name = next(iter(engine.plan.arrays))
    engine.get(name)[...] = 7
    assert not (engine.get(name) == 7).any()
    value = next(n for n in engine.values() if n not in engine.plan.inputs)
    engine.put(value, np.ones((2, 3)))
    np.testing.assert_array_equal(engine.get(value), np.ones((2, 3)))
    lent = engine.lend([value])[0]
    assert lent.is_finite and np.asarray(lent, np.float32).dtype == np.float32 and lent.nbytes == 48


# --- where there is none --------------------------------------------------------------------------


@pytest.fixture
def alone() -> Any:
    gpu.cuda.cache_clear()
    yield
    gpu.cuda.cache_clear()


def test_an_onnxruntime_for_processors(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(Failure, match="runs on the processor alone") as refused:
        gpu.cuda()
    assert refused.value.code == "VFL0785" and "pip uninstall onnxruntime" in str(refused.value.help)


class Library:
    """CUDA's runtime, as far as it is asked, with what each function answers."""

    def __init__(self, answers: dict[str, int], devices: int = 1) -> None:
        self.answers, self.devices = answers, devices
        self.cudaGetErrorString: Any = lambda status: b"no driver"

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> int:
            if name == "cudaGetDeviceCount":
                given[0]._obj.value = self.devices
            return self.answers.get(name, 0)

        return call


@pytest.mark.parametrize(
    ("library", "why"),
    [
        (None, "CUDA's runtime library is not found"),
        (Library({"cudaGetDeviceCount": 35}), "cudaGetDeviceCount: no driver"),
        (Library({}, devices=0), "none is found"),
    ],
)
def test_no_gpu(library: Library | None, why: str, alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if library is None:
            raise OSError(name)
        return library

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [gpu.PROVIDER])
    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(Failure, match=why) as refused:
        gpu.cuda()
    assert refused.value.code == "VFL0786"


def test_a_gpu_without_memory(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [gpu.PROVIDER])
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library({"cudaMalloc": 2}))
    with pytest.raises(Failure, match="no memory left for 4 MB more") as refused:
        gpu.cuda().empty((1000, 1000), np.float32)
    assert refused.value.code == "VFL0787"


def test_a_device_that_an_engine_has_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only onnxruntime is told where to run; deploy.toml may say it for one party."""
    asked = ["train", str(tmp_path), "--data", "a=x.csv", "--device", "cuda", "--engine", "keras"]
    assert run(asked) == 2
    assert "--device cuda is for --engine onnx, not for keras" in capsys.readouterr().err
