"""`--from RUN` brings what the run's weights learned: no more than one of the two specs says, or VFL0752."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from granting import granted
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure
from vflc_runtime.run.opened import open_run
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

ALONE = """
party bank {
  key id
  feature City: int -> index(4)
  label   Salary: float
}
h = dense(embed(bank.City, dim = 3), 3)
out = dense(h, 1)
predict Salary = out
objective mse(out, bank.Salary)
train { optimizer sgd(lr = 0.5)  batch 64 }
"""
TOGETHER = """
party bank {{
  key id
  feature City: int -> index(4)
  feature Age:  float
}}
{more}
party shop {{
  key id
  label   liked: float
}}
{middle}
predict liked = logit
objective mse(logit, shop.liked)
train {{ optimizer sgd(lr = 0.1)  batch {batch}  {train} }}
"""
BOTTOM = "h = dense(embed(bank.City, dim = 3), 3)\n"
TOP = "logit = dense(h, 1) at {at}\n"
PLAIN = BOTTOM + TOP.format(at="shop")
NOISED = (
    "h = stop_gradient(dense(embed(bank.City, dim = 3), 3))\nlogit = dense(h, 1) at shop\n"
    "protect h with gaussian(clip = 1.0, epsilon = 4, delta = 1e-6)"
)
KERNEL = "h.dense.kernel"
AGE = "h = dense(dense(bank.Age, 3), 3)\n"


def tables(scale: float = 1.0) -> dict[str, pa.Table]:
    rng = np.random.default_rng(3)
    city = rng.integers(0, 4, 64)
    bank = {"id": range(64), "City": city, "Age": rng.normal(size=64), "Salary": scale * city}
    return {"bank": pa.table(bank), "shop": pa.table({"id": range(64), "liked": rng.normal(size=64)})}


def run(text: str, folder: Path, start: Path | None = None, scale: float = 1.0) -> Path:
    compile_source(SourceText("m.vfl", granted(text))).write(folder / "bundle")
    sources = {name: tables(scale)[name] for name in open_bundle(folder / "bundle").parties}
    options = TrainOptions(threads=1, start=start, steps=1)
    return train(folder / "bundle", sources, folder / "run", options).folder


def together(middle: str = PLAIN, train: str = "", more: str = "", batch: int = 64) -> str:
    return TOGETHER.format(middle=middle, train=train, more=more, batch=batch)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(ALONE, tmp_path_factory.mktemp("alone"))


def test_weights_that_learned_a_column_tell_of_it(alone: Path, tmp_path: Path) -> None:
    """What the bank would send depends on salaries, of which the shop learns nothing by the manifest."""
    other = run(ALONE, tmp_path, scale=2.0)
    of_weights = [open_run(each).weights()[KERNEL] for each in (alone, other)]
    assert not np.array_equal(*of_weights)
    with pytest.raises(Failure, match=r"bank\.Salary, of which shop may learn nothing") as failed:
        run(together(train="freeze h"), tmp_path / "shared", alone)
    assert failed.value.code == "VFL0752" and not (tmp_path / "shared" / "run").exists()


def test_no_epsilon_is_claimed_of_weights_that_learned_without_one(alone: Path, tmp_path: Path) -> None:
    with pytest.raises(
        Failure, match=r"bank\.City, of which shop may learn no more than an ε allows"
    ) as failed:
        run(together(NOISED), tmp_path, alone)
    assert failed.value.code == "VFL0752"


def test_what_a_run_was_granted_may_come_back_and_goes_no_further(tmp_path: Path) -> None:
    """City is left out, whose code the shop was granted; then a hub is added, which was granted nothing."""
    first = run(together(), tmp_path / "first")
    second = run(together(AGE + TOP.format(at="shop")), tmp_path / "second", first)
    kept = json.loads((second / "run.json").read_text())["before"]
    assert [spec["used"]["bank"].keys() for spec in kept] == [{"bank.City"}]
    again = run(together(AGE + TOP.format(at="shop"), batch=32), tmp_path / "again", second)
    assert json.loads((again / "run.json").read_text())["before"] == kept, "the same model, another batch"
    with pytest.raises(Failure, match=r"bank\.City, of which hub may learn nothing"):
        run(together(AGE + TOP.format(at="hub"), "", "party hub {}"), tmp_path / "third", again)
