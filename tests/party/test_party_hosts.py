"""A link of 40 ms through a proxy on one host; between two hosts: test_party_far."""

from __future__ import annotations

from pathlib import Path

from partying import compiled, tensors, train_alone
from processes import Party, write_deploy
from specs.examples import prepared, text_of
from transport.wiring import Proxy
from vflc_runtime.run.train import TrainOptions

DELAY = 0.02
"""Seconds in each direction."""
FLAGS = ["--epochs", "2", "--batch", "64", "--threads", "1"]


def example(folder: Path) -> tuple[dict[str, str], Path, Path]:
    """Tables, bundle, and the run in one process."""
    sources = prepared("deepfm", folder / "data", "--generate", 1200)
    bundle = compiled("deepfm", text_of("deepfm", small=True), folder / "bundle")
    return sources, bundle, train_alone(bundle, sources, folder / "alone", TrainOptions(epochs=2, batch=64))


def test_a_slow_link_does_not_change_a_bit(tmp_path: Path) -> None:
    sources, bundle, alone = example(tmp_path)
    near = write_deploy(tmp_path, sources)
    port = int(near.read_text().split("127.0.0.1:")[1].split('"')[0])
    proxy = Proxy(port)
    proxy.delay = DELAY
    far = tmp_path / "far.toml"
    far.write_text(near.read_text().replace(f"127.0.0.1:{port}", proxy.address))
    parties = [
        Party(name, bundle, deploy, tmp_path / name, FLAGS)
        for name, deploy in zip(sources, (near, far), strict=True)
    ]
    try:
        for party in parties:
            party.start()
        for party in parties:
            assert party.wait() == 0, party.log()
            assert tensors(party.out, party.name) == tensors(alone, party.name)
    finally:
        proxy.close()
