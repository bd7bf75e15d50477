"""`--from RUN` with a spec that was changed since: weights by name and shape, encoders kept or refitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from vflc_runtime import events
from vflc_runtime.errors import Failure
from vflc_runtime.run.opened import open_run
from vflc_runtime.run.train import TrainOptions, TrainResult, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party a {{ key id  feature x: float -> standardize  feature z: float -> {z}  feature c: string -> hash(9) }}
party b {{ key id  feature y: float  label t: float -> standardize }}
h = relu(dense(concat(a.x, a.z, embed(a.c, dim = 3), b.y), {width}))
{more}
predict t = out
objective mse(out, b.t)
release a {{ to b: x, z, c }}
release b {{ to a: y, t }}
train {{ batch 8  {train} }}
"""
SAME: dict[str, Any] = {"z": "standardize", "width": 4, "more": "out = dense(h, 1)", "train": ""}
OPTIONS = TrainOptions(threads=1)


def tables(seed: int = 2) -> dict[str, pa.Table]:
    rng, keys = np.random.default_rng(seed), list(range(48))
    x, y, z = rng.normal(size=(3, 48))
    a = {"id": keys, "x": x, "z": z + seed, "c": [str(i) for i in rng.integers(0, 5, 48)]}
    return {"a": pa.table(a), "b": pa.table({"id": keys, "y": y, "t": x - y})}


def trained(
    folder: Path, options: TrainOptions = OPTIONS, seed: int = 2, **changed: Any
) -> tuple[TrainResult, Any]:
    compile_source(SourceText("m.vfl", SPEC.format(**{**SAME, **changed}))).write(folder / "bundle")
    heard: list[Any] = []
    result = train(folder / "bundle", tables(seed), folder / "run", options, heard.append)
    return result, next((each for each in heard if isinstance(each, events.StartedFrom)), None)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("first"))[0].folder


def weights(run: Path) -> dict[str, Any]:
    return open_run(run).weights()


FROZEN = "freeze h"


def test_what_is_new_starts_fresh_and_what_is_gone_is_said(first: Path, tmp_path: Path) -> None:
    more = "g = relu(dense(h, 3))\nout = dense(g, 1)"
    start = TrainOptions(threads=1, start=first)
    result, told = trained(tmp_path, start, more=more, train=FROZEN)
    before, after = weights(first), weights(result.folder)
    assert all(np.array_equal(before[name], after[name]) for name in before if name.startswith("h."))
    assert set(told.fresh) == {"g.dense.kernel", "g.dense.bias", "out.dense.kernel"} and told.gone == ()
    assert told.kept == ("a.x", "a.z", "b.t") and told.fitted == ()
    again, _ = trained(tmp_path / "seed", OPTIONS, more=more)
    fresh = trained(tmp_path / "one", TrainOptions(threads=1, start=first, steps=1), more=more)[0]
    assert fresh.metrics["steps"] == 1 and again.metrics["train"] != result.metrics["train"]
    _, told = trained(tmp_path / "less", start, more="out = h", width=1)
    assert set(told.gone) == {"out.dense.kernel", "out.dense.bias"}
    assert {name.split(".")[-1] for name in told.fresh} == {"kernel", "bias"}


def test_the_split_and_the_place_of_a_weight_are_no_matter(first: Path, tmp_path: Path) -> None:
    start = TrainOptions(threads=1, start=first)
    compile_source(SourceText("m.vfl", SPEC.format(**SAME)), unsplit=True).write(tmp_path / "whole")
    heard: list[Any] = []
    train(tmp_path / "whole", tables(), tmp_path / "run", start, heard.append)
    (told,) = (each for each in heard if isinstance(each, events.StartedFrom))
    assert told.fresh == told.gone == ()
    _, again = trained(tmp_path / "split", TrainOptions(threads=1, start=tmp_path / "run"))
    assert again.fresh == again.gone == () and again.taken > told.taken  # slices


def test_encoders_are_kept_or_fitted_anew(first: Path, tmp_path: Path) -> None:
    start = TrainOptions(threads=1, start=first, steps=1)
    kept, told = trained(tmp_path / "kept", start, seed=5)
    assert told.kept == ("a.x", "a.z", "b.t")
    anew, told = trained(tmp_path / "anew", TrainOptions(threads=1, start=first, steps=1, refit=True), seed=5)
    assert told.kept == () and told.fitted == ("a.x", "a.z", "b.t")
    part, told = trained(tmp_path / "part", start, seed=5, z="minmax")
    assert told.kept == ("a.x", "b.t") and told.fitted == ("a.z",)
    found = {
        name: (result.folder / "a" / "encoders.json").read_text()
        for name, result in {"kept": kept, "anew": anew, "part": part}.items()
    }
    assert found["kept"] == (first / "a" / "encoders.json").read_text() != found["anew"] != found["part"]


def test_a_run_goes_on_when_it_was_resumed(first: Path, tmp_path: Path) -> None:
    whole, _ = trained(tmp_path / "whole", TrainOptions(threads=1, start=first, epochs=2), seed=5)
    part, _ = trained(tmp_path / "part", TrainOptions(threads=1, start=first, epochs=2, steps=2), seed=5)
    train(None, tables(5), part.folder, TrainOptions(threads=1, resume=True, epochs=2))
    one, other = weights(whole.folder), weights(part.folder)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_nothing_in_common(first: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no weight that the spec has") as failed:
        trained(
            tmp_path, TrainOptions(threads=1, start=first), more="k = dense(b.y, 2)\nout = sum(k)", width=5
        )
    assert failed.value.code == "VFL0706"
    with pytest.raises(Failure) as failed:
        trained(tmp_path / "b", TrainOptions(refit=True))
    assert failed.value.code == "VFL0638"
