"""A party's page holds what that party knows of a run, and nothing that another knows alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from partying import TIMEOUT, compiled, exchange, site, together, train_together
from vflc_runtime.party.apply import evaluate_party
from vflc_runtime.run.train import TrainOptions

from vflc.report.report import report
from vflc.report.shown import as_json

SPEC = """
party alice { key id  feature Town: string -> vocab("here", "there", default = other)  feature x: float }
party bob { key id  feature y: float  label t: bool }
release alice { to bob: Town, x }
release bob { to alice: y, t }
e = embed(alice.Town, dim = 2)
logit = dense(concat(flatten(e), alice.x, bob.y), 1)
predict t = sigmoid(logit)
objective bce(logit, bob.t)
train { batch 20  epochs 2  validation 0.25  optimizer sgd(lr = 0.1)  metrics auc }
"""
N = 120


def tables(shift: float) -> dict[str, pa.Table]:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, N))
    keys = [f"{i:03}" for i in range(N)]
    town = np.where(np.arange(N) % 9 == 0, "alice's own secret place", "here")
    alice = pa.table({"id": keys, "Town": town, "x": x + shift})
    return {"alice": alice, "bob": pa.table({"id": keys, "y": y, "t": x + y > 0})}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("party-report")
    bundle = compiled("m", SPEC, folder / "bundle")
    found = train_together(bundle, tables(0), folder / "runs", TrainOptions(threads=1))
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    return {"bundle": bundle, "runs": folder / "runs"}


def test_each_page_has_its_own(made: dict[str, Any]) -> None:
    pages = {place: report([made["runs"] / place], names=[place]) for place in ("alice", "bob")}
    assert "This page holds what alice knows" in pages["alice"]
    assert "secret place" in pages["alice"] and "secret place" not in pages["bob"]
    assert "<td>bob</td>" not in pages["alice"].partition('id="data"')[2]
    for name in ("alice.x", "alice.Town"):
        assert name in pages["alice"].partition('id="drift"')[2].partition("</section>")[0]
        assert name not in pages["bob"].partition('id="drift"')[2].partition("</section>")[0]
    metrics = json.loads((made["runs"] / "bob" / "metrics.json").read_text())
    assert f"{metrics['validation']['auc']:.4f}" in pages["bob"] and "ROC" in pages["bob"]
    assert "ROC" not in pages["alice"] and "auc" not in pages["alice"]
    assert not (made["runs"] / "alice" / "alice" / "curves.json").exists()
    assert "No result of these runs is known here" in pages["alice"]


def test_it_says_what_was_waited_for(made: dict[str, Any]) -> None:
    metrics = json.loads((made["runs"] / "bob" / "metrics.json").read_text())
    peer = metrics["peers"]["alice"]
    assert {*peer["messages"]} <= {"alice>bob.forward"} and sum(peer["messages"].values()) <= peer["waited"]
    assert "Peers of this party" in report([made["runs"] / "bob"])


def test_other_rows_are_compared_at_their_owners(made: dict[str, Any], tmp_path: Path) -> None:
    meeting, others = exchange(made["bundle"]), tables(4)

    def one(place: str) -> Any:
        here = site(place, others[place], lambda manifest, rows: meeting.join(place, TIMEOUT))
        return lambda: evaluate_party(made["runs"] / place, here, details=True)

    found = together({place: one(place) for place in meeting.places})
    assert {*found["alice"]["drift"]} == {"alice.x", "alice.Town"}
    assert {*found["bob"]["drift"]} == {"bob.y", "bob.t"} and {*found["bob"]["curves"]} == {"t"}
    assert found["alice"]["curves"] == {} and found["alice"]["evaluation"] == {}
    assert found["alice"]["drift"]["alice.x"]["psi"] > 1 > found["alice"]["drift"]["alice.Town"]["psi"]
    for place in ("alice", "bob"):
        run = made["runs"] / place
        digest = json.loads((run / "run.json").read_text())["digest"]
        (tmp_path / place).write_bytes(as_json(found[place], digest))
        page = report([run], [tmp_path / place])
        assert (">changed much<" in page) == (place == "alice")
