"""A party that is killed at any instant and started again costs time, and not a bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from chance import seeded
from partying import compiled, history, tensors, train_alone
from processes import Party, write_deploy
from specs.examples import prepared, text_of
from vflc_runtime import memory
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


@pytest.mark.parametrize(
    ("name", "large", "scheme"), [("deepfm", "0", "tls://"), ("u_shape", "64", "")], ids=["tls", "grpc"]
)
def test_sigkill_at_random_instants(
    name: str, large: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With checkpoints that have the rows that changed, and with whole ones."""
    monkeypatch.setenv(memory.LARGE, large)
    sources = prepared(name, tmp_path / "data", "--generate", 1600)
    bundle = compiled(name, text_of(name, small=True), tmp_path / "bundle")
    alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    places = [place.name for place in sorted(bundle.iterdir()) if place.is_dir()]
    generator, killed, runs = seeded(), 0, 0
    while killed < KILLS // 2:
        folder = tmp_path / f"run{runs}"
        folder.mkdir()
        runs += 1
        deploy = write_deploy(folder, {place: sources.get(place) for place in places}, scheme=scheme)
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


Ended = tuple[list[Party], dict[str, dict[str, bytes]]]


def two_parties(folder: Path, out: Path) -> list[Party]:
    """Not started; their tables and their bundle are in the folder."""
    sources = {place: str(folder / "data" / f"{place}.parquet") for place in ("alice", "bob")}
    deploy, flags = write_deploy(out, sources, timeout=8), [*FLAGS, "--epochs", "1"]
    return [Party(place, folder / "bundle", deploy, out / place, flags) for place in sources]


@pytest.fixture(scope="module")
def at_their_end(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two parties that trained to the end."""
    folder = tmp_path_factory.mktemp("ended")
    prepared("deepfm", folder / "data", "--generate", 400)
    compiled("deepfm", text_of("deepfm", small=True), folder / "bundle")
    parties = two_parties(folder, folder)
    for party in parties:
        party.start()
    assert [party.wait() for party in parties] == [0, 0]
    return folder


@pytest.fixture
def ended(at_their_end: Path, tmp_path: Path) -> Ended:
    """Two parties that trained to the end, and what they hold; of this test alone."""
    for place in ("alice", "bob"):
        shutil.copytree(at_their_end / place, tmp_path / place)
    parties = two_parties(at_their_end, tmp_path)
    return parties, {party.name: tensors(party.out, party.name) for party in parties}


def killed_before_parting(party: Party) -> None:
    """As it is where the process dies after it wrote what came of the run, before all have parted."""
    path = party.out / "metrics.json"
    metrics = json.loads(path.read_bytes())
    del metrics["peers"], metrics["parted"]
    path.write_text(json.dumps(metrics))


def test_two_killed_at_the_very_end_both_come_to_it(ended: Ended) -> None:
    """One knows that all are at the end, the other must learn it from this one."""
    parties, held = ended
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
def test_who_was_killed_as_it_left_does_not_need_the_others(ended: Ended, place: int) -> None:
    """It waits for them, as one may need it; that nobody came is no failure."""
    parties, held = ended
    party = parties[place]
    killed_before_parting(party)
    deploy = party.deploy.read_text()
    party.deploy.write_text(deploy.replace("timeout = 8", "timeout = 2"))  # all of which it waits
    party.start()
    assert party.wait() == 0, party.log()
    assert tensors(party.out, party.name) == held[party.name]
    assert json.loads((party.out / "metrics.json").read_bytes())["parted"] is False
