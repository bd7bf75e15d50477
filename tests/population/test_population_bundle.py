"""A bundle that does not hold together is refused before anything of it runs."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from population.population_testing import compiled
from population.reference import spec
from signing import sign
from vflc_runtime.bundle.folder import of_population, open_any
from vflc_runtime.errors import Failure
from vflc_runtime.run.client_executor import ClientExecutor
from vflc_runtime.run.train import TrainOptions, train

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


def _other_kind(plan: Plan) -> None:
    plan["kind"] = "hub"


def _of_another_place(plan: Plan) -> None:
    plan["place"] = "hub"


def _sends_on_predicting(plan: Plan) -> None:
    plan["programs"]["predict"].append(plan["programs"]["train"][-1])


def _sends_what_is_not_declared(plan: Plan) -> None:
    plan["programs"]["train"].append({"do": "send", "message": "users>hub.ratings"})


def _sends_before_it_trained(plan: Plan) -> None:
    plan["programs"]["train"].insert(0, plan["programs"]["train"].pop())


def _runs_before_it_received(plan: Plan) -> None:
    plan["programs"]["train"][1:3] = plan["programs"]["train"][2:0:-1]


def _trains_on_evaluating(plan: Plan) -> None:
    plan["programs"]["evaluate"][-1]["graph"] = "client"


def _measures_nothing(plan: Plan) -> None:
    plan["programs"]["evaluate"].pop()


def _updates_at_users(plan: Plan) -> None:
    plan["programs"]["train"].append({"do": "update", "update": "server"})


def _no_program(plan: Plan) -> None:
    del plan["programs"]["predict"]


def _other_weights(plan: Plan) -> None:
    plan["weights"][0]["shape"] = [31, 4]


def _examples_by_another_name(plan: Plan) -> None:
    plan["examples"] = "users.rating"


@pytest.mark.parametrize(
    "change",
    [
        _elsewhere, _unfed, _unmeasured, _no_gradient, _gradient_of_nothing, _one_of_a_pair,
        _rows_of_no_table, _noise_without_clipping, _nobody_to_train, _no_such_graph, _other_kind,
        _of_another_place, _sends_on_predicting, _sends_what_is_not_declared, _sends_before_it_trained,
        _runs_before_it_received, _trains_on_evaluating, _measures_nothing, _updates_at_users, _no_program,
        _other_weights, _examples_by_another_name,
    ],
)  # fmt: skip
def test_a_plan_that_does_not_hold_together(change: Callable[[Plan], None], tmp_path):
    refused_with(change, "users", tmp_path)


def test_a_manifest_that_declares_more_than_the_hub_takes(tmp_path):
    """A user's features are no value that a plan could send, whatever a manifest declares."""
    folder = compiled(spec("cohort 6  batch 3"), tmp_path).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (back,) = (m for m in manifest["messages"] if m["id"] == "users>hub.backward")
    (edge,) = (e for e in manifest["edges"] if e["id"] == "users.examples")
    manifest["edges"].append({**edge, "id": "users.item", "value": "users.item"})
    back["edges"].append("users.item")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sign(folder)
    with pytest.raises(Failure, match=r"needs 'users\.item', which is not there yet"):
        of_population(open_any(folder))


def refused_with(change: Callable[[Plan], None], place: str, tmp_path: Path) -> None:
    path = compiled(spec("cohort 6  batch 3"), tmp_path).folder / place / "plan.json"
    plan = json.loads(path.read_text())
    change(plan)
    path.write_text(json.dumps(plan))
    sign(tmp_path / "bundle")
    with pytest.raises(Failure) as refused:
        of_population(open_any(tmp_path / "bundle"))
    assert refused.value.code == "VFL0613" and "was changed" not in refused.value.message


def _update_on_evaluating(plan: Plan) -> None:
    plan["programs"]["evaluate"].append({"do": "update", "update": "server"})


def _another_update(plan: Plan) -> None:
    plan["programs"]["train"][-1]["update"] = "client"


def _weights_before_they_were_asked_for(plan: Plan) -> None:
    plan["programs"]["train"][:2] = plan["programs"]["train"][1::-1]


def _update_before_anything_came(plan: Plan) -> None:
    plan["programs"]["train"].insert(2, plan["programs"]["train"].pop())


def _a_graph_at_the_hub(plan: Plan) -> None:
    plan["programs"]["train"].append({"do": "run", "graph": "client"})


@pytest.mark.parametrize(
    "change",
    [
        _update_on_evaluating, _another_update, _weights_before_they_were_asked_for,
        _update_before_anything_came, _a_graph_at_the_hub,
    ],
)  # fmt: skip
def test_a_hub_that_does_not_hold_together(change: Callable[[Plan], None], tmp_path):
    refused_with(change, "hub", tmp_path)


def test_a_graph_other_than_the_plan_says(tmp_path):
    found = compiled(spec("cohort 6  batch 3"), tmp_path)
    folder = found.folder / "users"
    (folder / "client.onnx").write_bytes((folder / "predict.onnx").read_bytes())
    with pytest.raises(Failure, match=r"client\.onnx was changed after it was compiled"):
        of_population(open_any(found.folder))
    sign(found.folder)
    with pytest.raises(Failure, match="other inputs or outputs") as refused:
        ClientExecutor(of_population(open_any(found.folder)), found.users.settings)
    assert refused.value.code == "VFL0613"


def test_what_runs_is_what_was_hashed(tmp_path):
    """Another machine of a cluster gets the files that were checked, not those that lie there now."""
    found = compiled(spec("cohort 6  batch 3"), tmp_path)
    for file in (found.folder / "users").iterdir():
        file.write_bytes(b"somebody else's")
    elsewhere = pickle.loads(pickle.dumps(found))
    assert elsewhere == found
    ClientExecutor(elsewhere, elsewhere.users.settings)
    assert "users" in elsewhere.users.encoders


@pytest.mark.parametrize("place", ["users", "hub"])
def test_every_file_of_both_places_counts(place, tmp_path):
    folder = compiled(spec("cohort 6  batch 3"), tmp_path).folder
    for file in sorted((folder / place).iterdir()):
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        with pytest.raises(Failure, match="was changed after it was compiled") as refused:
            of_population(open_any(folder))
        assert refused.value.code == "VFL0613" and file.name in refused.value.message
        file.write_bytes(content)
    of_population(open_any(folder))


def test_an_engine_that_is_not_there(tmp_path):
    folder = compiled(spec("cohort 6  batch 3"), tmp_path).folder
    for engine, code in (("torch", "VFL0639"), ("keras", "VFL0613")):
        with pytest.raises(Failure) as refused:
            train(folder, {}, tmp_path / "run", TrainOptions(engine=engine))
        assert refused.value.code == code
