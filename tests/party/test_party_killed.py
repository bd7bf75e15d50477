"""A party that is killed at any instant and started again costs time, and not a bit."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from partying import compiled, history, tensors, train_alone
from processes import Party, write_deploy
from specs.examples import prepared, text_of
from vflc_runtime.train import TrainOptions

KILLS = int(os.environ.get("VFLC_KILLS", "6"))
OPTIONS = TrainOptions(epochs=3, batch=16, validation=0.1, checkpoint_steps=25)
FLAGS = [
    "--epochs",
    "3",
    "--batch",
    "16",
    "--validation",
    "0.1",
    "--checkpoint-steps",
    "25",
    "--threads",
    "1",
]


@pytest.mark.parametrize("name", ["deepfm", "u_shape"])
def test_sigkill_at_random_instants(name: str, tmp_path: Path) -> None:
    sources = prepared(name, tmp_path / "data", "--generate", 1600)
    bundle = compiled(name, text_of(name, small=True), tmp_path / "bundle")
    alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    places = [place.name for place in sorted(bundle.iterdir()) if place.is_dir()]
    generator, killed, runs = random.Random(os.urandom(8)), 0, 0
    while killed < KILLS // 2:
        folder = tmp_path / f"run{runs}"
        folder.mkdir()
        runs += 1
        deploy = write_deploy(folder, {place: sources.get(place) for place in places})
        parties = [Party(place, bundle, deploy, folder / place, FLAGS) for place in places]
        for party in parties:
            party.start()
        while killed < KILLS // 2:
            time.sleep(generator.random() * 2.5)
            victim = generator.choice(parties)
            if not all(party.running() for party in parties):
                break
            victim.kill()
            killed += 1
            time.sleep(generator.random() * 0.2)
            victim.start()
        for party in parties:
            assert party.wait() == 0, "\n".join(f"{each.name}:\n{each.log()}" for each in parties)
            assert tensors(party.out, party.name) == tensors(alone, party.name)
        (owner,) = [party for party in parties if history(party.out)[0]["train"]]
        assert history(owner.out) == history(alone)
