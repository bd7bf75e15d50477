"""Rounds on Ray workers: the same bits as in one process, also when a worker dies in a round."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from population.population_testing import compiled, ratings, rounds_of, table
from population.reference import GLOBALS, spec
from vflc_runtime.errors import Failure
from vflc_runtime.reconstruct.crew_ray import RayCrew, Worker
from vflc_runtime.reconstruct.rounds import Rounds

pytest.importorskip("ray")


class Mortal(Worker):
    """Dies in the middle of its first visit, once."""

    def train(self, *arguments):
        died = Path(os.environ["VFLC_TEST_DIED"])
        if not died.exists():
            died.touch()
            os._exit(1)
        return super().train(*arguments)


def test_workers_and_their_death_change_no_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("VFLC_TEST_DIED", str(tmp_path / "died"))
    here = Path(__file__).parent  # workers import this file
    path = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    plan = compiled(spec("rounds 2  cohort 6  batch 3  keep_local true"), tmp_path)
    local = rounds_of(plan, table(ratings()), together=2)
    others = RayCrew(plan, plan.settings, local.users, "ray", 2, Mortal)
    try:
        ours = Rounds(plan, plan.settings, local.users, local.split, others, together=2)
        for number in range(2):
            assert ours.step(number) == local.step(number)
        assert others.replaced == 1 and (tmp_path / "died").exists()
        assert ours.measure(local.split.test) == local.measure(local.split.test)
    finally:
        others.close()
    for name in GLOBALS:
        assert np.array_equal(ours.hub.weights[name], local.hub.weights[name])
    assert all(np.array_equal(ours.kept[name], local.kept[name]) for name in local.kept)


def test_an_address_that_does_not_answer(tmp_path):
    plan = compiled(spec("cohort 6"), tmp_path)
    with pytest.raises(Failure, match="does not answer") as refused:
        RayCrew(plan, plan.settings, rounds_of(plan, table(ratings())).users, "ray://127.0.0.1:1")
    assert (refused.value.code, refused.value.exit_code) == ("VFL0620", 3)
