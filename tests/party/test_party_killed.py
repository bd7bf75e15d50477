"""A party that is killed at any instant and started again costs time, and not a bit."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from chance import seeded
from partying import compiled, history, tensors, train_alone
from processes import Party, write_deploy
from specs.examples import prepared, text_of
from vflc_runtime.run.train import TrainOptions

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
    generator, killed, runs = seeded(), 0, 0
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
            if victim.process.returncode != -signal.SIGKILL:  # it was at its end: nobody was hit
                break
            killed += 1
            time.sleep(generator.random() * 0.2)
            victim.start()
        for party in parties:
            assert party.wait() == 0, "\n".join(f"{each.name}:\n{each.log()}" for each in parties)
            assert tensors(party.out, party.name) == tensors(alone, party.name)
        (owner,) = [party for party in parties if history(party.out)[0]["train"]]
        assert history(owner.out) == history(alone)


def ended(folder: Path) -> tuple[list[Party], dict[str, dict[str, bytes]]]:
    """Two parties that trained to the end, and what they hold."""
    sources = prepared("deepfm", folder / "data", "--generate", 400)
    bundle = compiled("deepfm", text_of("deepfm", small=True), folder / "bundle")
    deploy = write_deploy(folder, {place: sources[place] for place in ("alice", "bob")}, timeout=8)
    flags = [*FLAGS, "--epochs", "1"]
    parties = [Party(place, bundle, deploy, folder / place, flags) for place in ("alice", "bob")]
    for party in parties:
        party.start()
    assert [party.wait() for party in parties] == [0, 0]
    return parties, {party.name: tensors(party.out, party.name) for party in parties}


def killed_before_parting(party: Party) -> None:
    """As it is where the process dies after it wrote what came of the run, before all have parted."""
    path = party.out / "metrics.json"
    metrics = json.loads(path.read_bytes())
    del metrics["peers"], metrics["parted"]
    path.write_text(json.dumps(metrics))


def test_two_killed_at_the_very_end_both_come_to_it(tmp_path: Path) -> None:
    """One knows that all are at the end, the other must learn it from this one."""
    parties, held = ended(tmp_path)
    before = json.loads((parties[1].out / "metrics.json").read_bytes())
    killed_before_parting(parties[0])
    (parties[1].out / "metrics.json").unlink()
    for party in parties:
        party.start()
    for party in parties:
        assert party.wait() == 0, party.log()
        assert tensors(party.out, party.name) == held[party.name]
        assert json.loads((party.out / "metrics.json").read_bytes())["parted"]
    after = json.loads((parties[1].out / "metrics.json").read_bytes())
    assert [after[key] for key in ("steps", "ended", "train")] == [
        before[key] for key in ("steps", "ended", "train")
    ]


@pytest.mark.parametrize("place", [0, 1])
def test_who_was_killed_as_it_left_does_not_need_the_others(tmp_path: Path, place: int) -> None:
    """It waits for them, as one may need it; that nobody came is no failure."""
    parties, held = ended(tmp_path)
    party = parties[place]
    killed_before_parting(party)
    party.start()
    assert party.wait() == 0, party.log()
    assert tensors(party.out, party.name) == held[party.name]
    assert json.loads((party.out / "metrics.json").read_bytes())["parted"] is False
