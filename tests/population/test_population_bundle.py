"""A bundle that does not hold together is refused before anything of it runs."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from population.population_testing import compiled
from population.reference import spec
from signing import sign
from vflc_runtime.bundle.population_reader import read_population
from vflc_runtime.errors import Failure
from vflc_runtime.population.visit import Visitor
from vflc_runtime.run.population_run import encoders
from vflc_runtime.run.population_train import RoundOptions, train

Plan = dict[str, Any]


def _elsewhere(plan: Plan) -> None:
    plan["graphs"]["client"]["file"] = "../../../client.onnx"


def _unfed(plan: Plan) -> None:
    plan["graphs"]["evaluate"]["inputs"].append("users.age")


def _unmeasured(plan: Plan) -> None:
    plan["graphs"]["evaluate"]["outputs"].pop()


def _no_gradient(plan: Plan) -> None:
    plan["phases"]["client"]["gradients"][0]["rows"] = []


def _gradient_of_nothing(plan: Plan) -> None:
    plan["phases"]["rebuild"]["gradients"][0]["weight"] = "nothing"


def _one_of_a_pair(plan: Plan) -> None:
    plan["phases"]["client"]["gradients"][0]["rows"][0].pop()


def _rows_of_no_table(plan: Plan) -> None:
    plan["ids"][0]["table"] = "mean"


def _noise_without_clipping(plan: Plan) -> None:
    plan["reconstruct"]["noise"] = 1.0


def _nobody_to_train(plan: Plan) -> None:
    plan["reconstruct"]["test"] = 0.9
    plan["reconstruct"]["validation"] = 0.1


def _no_such_graph(plan: Plan) -> None:
    del plan["graphs"]["client"]


@pytest.mark.parametrize(
    "change",
    [
        _elsewhere, _unfed, _unmeasured, _no_gradient, _gradient_of_nothing, _one_of_a_pair,
        _rows_of_no_table, _noise_without_clipping, _nobody_to_train, _no_such_graph,
    ],
)  # fmt: skip
def test_a_plan_that_does_not_hold_together(change: Callable[[Plan], None], tmp_path):
    path = compiled(spec("cohort 6  batch 3"), tmp_path).folder / "users" / "plan.json"
    plan = json.loads(path.read_text())
    change(plan)
    path.write_text(json.dumps(plan))
    sign(tmp_path / "bundle")
    with pytest.raises(Failure) as refused:
        read_population(tmp_path / "bundle")
    assert refused.value.code == "VFL0613" and "was changed" not in refused.value.message


def test_a_graph_other_than_the_plan_says(tmp_path):
    plan = compiled(spec("cohort 6  batch 3"), tmp_path)
    folder = plan.folder / "users"
    (folder / "client.onnx").write_bytes((folder / "predict.onnx").read_bytes())
    with pytest.raises(Failure, match=r"client\.onnx was changed after it was compiled"):
        read_population(plan.folder)
    sign(plan.folder)
    with pytest.raises(Failure, match="other inputs or outputs") as refused:
        Visitor(read_population(plan.folder), plan.settings)
    assert refused.value.code == "VFL0613"


def test_what_is_visited_is_what_was_hashed(tmp_path):
    """Another machine of a cluster gets the files that were checked, not those that lie there now."""
    plan = compiled(spec("cohort 6  batch 3"), tmp_path)
    for file in (plan.folder / "users").iterdir():
        file.write_bytes(b"somebody else's")
    elsewhere = pickle.loads(pickle.dumps(plan))
    assert elsewhere == plan
    Visitor(elsewhere, elsewhere.settings)
    assert "users" in encoders(elsewhere)["parties"]


@pytest.mark.parametrize("place", ["users", "hub"])
def test_every_file_of_both_places_counts(place, tmp_path):
    folder = compiled(spec("cohort 6  batch 3"), tmp_path).folder
    for file in sorted((folder / place).iterdir()):
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        with pytest.raises(Failure, match="was changed after it was compiled") as refused:
            read_population(folder)
        assert refused.value.code == "VFL0613" and file.name in refused.value.message
        file.write_bytes(content)
    read_population(folder)


def test_an_engine_that_is_not_there(tmp_path):
    folder = compiled(spec("cohort 6  batch 3"), tmp_path).folder
    for engine, code in (("torch", "VFL0639"), ("keras", "VFL0613")):
        with pytest.raises(Failure) as refused:
            train(folder, {}, tmp_path / "run", RoundOptions(engine=engine))
        assert refused.value.code == code
