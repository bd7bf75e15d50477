"""A place on onnxruntime: what it takes and gives, which threads it uses, tables that the same ids read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from granting import granted
from vflc_common.engines import ENGINES
from vflc_runtime.engines import onnx, onnx_catch_up, onnx_replay, onnx_updates
from vflc_runtime.engines.onnx import OnnxEngine
from vflc_runtime.engines.watched import engine_maker
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session

from runtime import handmade
from vflc.diagnostics import SourceText
from vflc.driver import compile_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return handmade.write_bundle(tmp_path / "b", "float64", dropout=True)


def place(folder: Path, name: str, *programs: str, threads: int | None = None) -> OnnxEngine:
    plan = Session(folder, programs=("predict",)).engines[name].plan
    return OnnxEngine(plan, programs or ("train", "evaluate", "predict"), 3, threads)


def test_an_engine_that_is_none() -> None:
    with pytest.raises(Failure, match="there is no engine 'abacus'") as refused:
        engine_maker("abacus")
    assert (refused.value.code, refused.value.help) == ("VFL0639", "use one of: cuda, keras, onnx")
    assert engine_maker("onnx") is ENGINES["onnx"].make


@pytest.mark.parametrize(("given", "used"), [(None, 7), (2, 2)])
def test_one_thread_a_core_unless_told(given: int | None, used: int, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(onnx, "cores", lambda: 7)
    assert place(folder, "alice", "predict", threads=given).threads == used


@pytest.mark.parametrize(("least", "alice", "bob"), [(2, 2, 2), (3, 1, 2), (4, 1, 1)])
def test_large_buffers_are_updated_by_several_threads(
    least: int, alice: int, bob: int, folder: Path, monkeypatch: Any
) -> None:
    """Bob's has three numbers, alice's two; one session serves all that are alike."""
    made: list[tuple[str, int]] = []
    original = onnx_updates.in_place

    def noted(plan: Any, optimizer: str, threads: int) -> Any:
        made.append((plan.place, threads))
        return original(plan, optimizer, threads)

    monkeypatch.setattr(onnx_updates, "in_place", noted)
    monkeypatch.setattr(onnx_updates, "PARALLEL_ELEMENTS", least)
    for name in ("alice", "bob"):
        place(folder, name, threads=2)
    assert made == [("alice", alice), ("bob", bob)]


def test_values_are_taken_as_the_plan_has_them(folder: Path) -> None:
    """Integers and numbers of any size, wherever they lie; a batch may have other rows than the last."""
    engine = place(folder, "alice", "train")
    rng = np.random.default_rng()
    for step, rows in enumerate((4, 4, 2), 1):
        users, number = rng.integers(0, handmade.USERS, 2 * rows), rng.normal(size=(rows, 1))
        engine.begin("train", {"alice.u": users[::2], "alice.x": number.astype("float32")}, rows, step)
        assert engine.get("alice.u").dtype == np.int32 and engine.get("alice.x").dtype == np.float64
        np.testing.assert_array_equal(engine.get("alice.u"), users[::2])
        np.testing.assert_array_equal(engine.get("alice.x"), number.astype("float32"))
        assert engine.get("a.random").shape == (rows, handmade.WIDTH)
        engine.run("a.forward")
        assert engine.get("a.v").shape == (rows, handmade.WIDTH)
        assert engine.values() == ["alice.u", "alice.x", "a.random", "a.v"]
    turned = rng.normal(size=(handmade.WIDTH, 2)).T
    engine.put("gradient.a.v", turned)
    np.testing.assert_array_equal(engine.get("gradient.a.v"), turned)


def test_random_values_are_of_the_step_and_the_seed(folder: Path) -> None:
    """And drawn in programs whose graphs read them only."""
    engine = place(folder, "alice")
    inputs = {"alice.u": np.zeros(4, np.int32), "alice.x": np.ones((4, 1))}
    seen = []
    for step in (1, 2, 1):
        engine.begin("train", inputs, 4, step)
        seen.append(engine.get("a.random").tobytes())
    assert seen[0] == seen[2] != seen[1]
    engine = place(folder, "alice")
    engine.begin("evaluate", inputs, 4, 1)
    assert "a.random" not in engine.values()


def test_arrays_that_were_given_away_stay_as_they_were(folder: Path) -> None:
    """Values are shown where they lie."""
    engine = place(folder, "bob")
    given = engine.get("b.w")
    given[...] = 7
    assert not (engine.get("b.w") == 7).any()
    engine.put("a.v", np.ones((2, 2)))
    assert engine.get("a.v") is engine.get("a.v")
    first = engine.get("a.v")
    engine.put("a.v", np.zeros((2, 2)))
    assert first.all() and not engine.get("a.v").any()


def test_a_running_mean_takes_what_the_graph_made(folder: Path) -> None:
    session = Session(folder)
    inputs = handmade.batch(np.random.default_rng(), 6, "float64")
    before = session.weights()["b.mean"].copy()
    session.step(inputs)
    made = session.engines["bob"].get("new.mean")
    np.testing.assert_array_equal(session.weights()["b.mean"], made)
    assert not np.array_equal(before, made)


def test_an_update_that_cannot_run(folder: Path) -> None:
    engine = place(folder, "alice", "train")
    engine.begin("train", {"alice.u": np.zeros(4, np.int32), "alice.x": np.ones((4, 1))}, 4, 1)
    engine.put("gradient.a.e", np.ones((4, handmade.WIDTH + 1)))
    with pytest.raises(Failure, match=r"update 'rows\.a' of 'alice' cannot run: ") as refused:
        engine.update("rows.a")
    assert refused.value.code == "VFL0613"


def test_gradients_that_lie_elsewhere_are_taken_from_there(folder: Path) -> None:
    kept = []
    for number in (1.0, 3.0):
        engine = place(folder, "alice", "train")
        engine.begin("train", {"alice.u": np.zeros(4, np.int32), "alice.x": np.ones((4, 1))}, 4, 1)
        engine.put("gradient.dense.a", np.full(handmade.WIDTH, number))
        engine.update("dense.a")
        kept.append(engine.slots()["a.w/m"].copy())
    np.testing.assert_allclose(kept[1], 3 * kept[0])
    assert (kept[0] != 0).all()


@pytest.mark.parametrize("lost", ["a.table", "a.w"])
@pytest.mark.parametrize("kind", ["weight", "optimizer slot"])
def test_what_is_saved_must_be_all(kind: str, lost: str, folder: Path) -> None:
    engine = place(folder, "alice", "train")
    state = [dict(engine.weights()), dict(engine.slots())]
    name = lost if kind == "weight" else f"{lost}/m"
    part = state[kind != "weight"]
    short = part[name][:, :1]
    for wrong in ({k: v for k, v in part.items() if k != name}, {**part, name: short}):
        state[kind != "weight"] = wrong
        with pytest.raises(Failure, match=f"{kind} '{name}' of shape .* is not among those saved") as refused:
            engine.load(*state)
        assert refused.value.code == "VFL0621"


ROWS = 5
SPEC = """
party a {{ key k
  feature i: int -> index({rows})
  feature j: int -> index({rows}) }}
party b {{ key k
  label y: int }}
{tables}
fuse at b {{ logit = {sums} }}
predict y = sigmoid(logit)
objective bce(logit, b.y){penalty}
train {{ optimizer {optimizer}
  {settings}
  batch 4 }}
"""


def trained(folder: Path, widths: list[int], penalty: str, optimizer: str, settings: str = "") -> Session:
    """A session of a spec with a table for each width, all read by the same ids."""
    names = [f"e{index}" for index in range(len(widths))]
    text = SPEC.format(
        rows=ROWS,
        tables="\n".join(f"{n} = embed(a.i, dim = {w})" for n, w in zip(names, widths, strict=True)),
        sums=" + ".join(f"sum({name})" for name in names),
        penalty=penalty and "".join(f" + l2({penalty}, {name}.tables, rows = all)" for name in names),
        optimizer=optimizer,
        settings=settings,
    )
    compile_source(SourceText("rows.vfl", granted(text)), precision="float64").write(folder)
    return Session(folder, programs=("train", "evaluate"))


def tables(session: Session, kind: str) -> dict[str, np.ndarray[Any, Any]]:
    """The tables side by side, or what is kept for them."""
    engine = session.engines["a"]
    found = getattr(engine, kind)()
    joined: dict[str, list[Any]] = {}
    for name in sorted(found):
        joined.setdefault(name.partition("/")[2], []).append(found[name])
    return {
        name: each[0] if name == "last" else np.concatenate(each, axis=1) for name, each in joined.items()
    }


RULES = [
    ("", "sgd(lr = 0.1)"),
    ("", "sgd(lr = 0.1, momentum = 0.9)"),
    ("", "adam(lr = 0.1)"),
    ("", "adam(lr = 0.1, lazy = true)"),
    ("0.05", "sgd(lr = 0.1)"),
    ("0.05", "adam(lr = 0.1)"),
]


@pytest.mark.parametrize(("penalty", "optimizer"), RULES)
def test_tables_side_by_side_are_one_table(
    tmp_path: Path, penalty: str, optimizer: str, monkeypatch: Any
) -> None:
    """Of their widths together: the same numbers, whatever is asked of them between steps, and by blocks."""
    monkeypatch.setattr(onnx_catch_up, "BLOCK_NUMBERS", 12)
    one, three = (
        trained(tmp_path / str(len(widths)), widths, penalty, optimizer) for widths in ([6], [2, 1, 3])
    )
    rng = np.random.default_rng()
    start = rng.normal(size=(ROWS, 6)) / 4
    for session, cuts in ((one, []), (three, [2, 3])):
        engine = session.engines["a"]
        mine = zip(sorted(engine.weights()), np.split(start, cuts, axis=1), strict=True)
        engine.load(dict(mine))
    for step in range(9):
        ids = rng.integers(0, ROWS - 1, 3).astype(np.int32)
        inputs = {"a.i": ids, "b.y": rng.integers(0, 2, (3, 1)).astype(float)}
        losses = [session.step(inputs).loss for session in (one, three)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-12)
        if step == 4:
            three.evaluate(inputs)  # reads copies, and goes on from what lies here
    for kind in ("stored", "slots", "weights"):
        found = [tables(session, kind) for session in (one, three)]
        assert found[0].keys() == found[1].keys()
        for name, array in found[0].items():
            np.testing.assert_allclose(found[1][name], array, rtol=0, atol=1e-12, err_msg=f"{kind} {name}")
    chosen = {name: np.full_like(array, 0.5) for name, array in three.engines["a"].weights().items()}
    three.engines["a"].load(chosen)
    assert all((array == 0.5).all() for array in three.engines["a"].weights().values())
    late = tables(three, "slots").get("last")
    assert late is None or (late == 9).all()


def test_only_tables_that_catch_up_are_stored_as_they_lie(folder: Path) -> None:
    assert place(folder, "alice").stored() == {}


@pytest.mark.parametrize("rule", ["sgd(lr = 0.5)", "sgd(lr = 0.5, momentum = 0.9)"])
def test_each_table_has_its_gradient_cut(tmp_path: Path, rule: str) -> None:
    """To the norm that is allowed, for the rows of all that a batch reads together."""
    sessions = [
        trained(tmp_path / str(index), [2, 1, 3], "", rule, limit)
        for index, limit in enumerate(("", "clip_norm 0.05", "clip_norm 1000"))
    ]
    rng = np.random.default_rng()
    start = {name: rng.normal(size=array.shape) for name, array in sessions[0].engines["a"].weights().items()}
    ids = np.array([3, 1, 3], np.int32)
    for session in sessions:
        session.engines["a"].load(start)
        session.step({"a.i": ids, "b.y": np.ones((3, 1))})
    free, cut, loose = (session.engines["a"].weights() for session in sessions)
    for name, before in start.items():
        gradient = (before - free[name]) / 0.5
        norm = np.sqrt(np.square(gradient).sum())
        np.testing.assert_allclose(loose[name], free[name], rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            cut[name], before - 0.5 * gradient * min(1, 0.05 / norm), rtol=0, atol=1e-12
        )


def test_a_step_takes_others_along_for_as_many_calls_as_its_own_rows_took(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Two rows at a time, in turn: none where a batch missed nothing, all where it is old."""
    monkeypatch.setattr(onnx_replay, "BLOCK_NUMBERS", 2 * 2)
    session = trained(tmp_path, [2], "0.05", "adam(lr = 0.1)")
    engine, found = session.engines["a"], []
    for row in (2, 2, 2, 4, 4, 0):
        session.step({"a.i": np.array([row], np.int32), "b.y": np.ones((1, 1))})
        found.append(engine.slots()["e0.i/last"].tolist())
    assert found == [
        [0, 0, 1, 0, 0], [0, 0, 2, 0, 0], [0, 0, 3, 0, 0],
        [3, 3, 3, 0, 4], [3, 3, 3, 0, 5], [6, 3, 5, 5, 5],
    ]  # fmt: skip
