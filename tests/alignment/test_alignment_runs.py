"""Training with alignment between the parties: the weights of a run in one process, to the bit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from party.partying import TIMEOUT, compiled, exchange, site, tensors, together, train_alone
from specs.examples import prepared, text_of
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.party.align import align_party
from vflc_runtime.party.train import train_party
from vflc_runtime.run.train import TrainOptions, TrainResult

OPTIONS = TrainOptions(epochs=2, batch=32, validation=0.2, threads=1)
SETTINGS = AlignSettings(key=b"known to the parties alone", threads=1)


def partly(sources: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The tables without a few rows each, in another order each."""
    folder.mkdir()
    found = {}
    for number, (place, source) in enumerate(sources.items()):
        table = pq.read_table(source)
        rows = np.random.default_rng(number).permutation(len(table))[number * 20 + 10 :]
        pq.write_table(table.take(pa.array(rows)), folder / f"{place}.parquet")
        found[place] = str(folder / f"{place}.parquet")
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], Path]:
    """Three parties, their tables, and a run of them in one process."""
    folder = tmp_path_factory.mktemp("aligned")
    sources = partly(prepared("three_parties", folder / "data", "--generate", 300), folder / "partly")
    bundle = compiled("three_parties", text_of("three_parties", small=True), folder / "bundle")
    return bundle, sources, train_alone(bundle, sources, folder / "alone", OPTIONS)


def work_of(
    bundle: Path, sources: Mapping[str, str], method: str, do: Callable[[str, Any], Any]
) -> dict[str, Callable[[], Any]]:
    meeting = exchange(bundle)

    def one(place: str) -> Callable[[], Any]:
        here = site(place, sources[place], lambda manifest, rows: meeting.join(place, TIMEOUT))
        return lambda: do(place, replace(here, method=method, align=SETTINGS))

    return {place: one(place) for place in meeting.places}


@pytest.mark.parametrize("method", ["hash", "psi"])
def test_the_weights_are_those_of_one_process(
    model: tuple[Path, dict[str, str], Path], tmp_path: Path, method: str
) -> None:
    if method == "psi":
        pytest.importorskip("private_set_intersection.python", reason="needs vflc[psi]")
    bundle, sources, alone = model
    train = lambda place, here: train_party(bundle, here, tmp_path / place, OPTIONS)  # noqa: E731
    for place, result in together(work_of(bundle, sources, method, train)).items():
        assert isinstance(result, TrainResult), result
        assert result.metrics["data"]["parties"][place]["dropped"] > 0
        assert tensors(tmp_path / place, place) == tensors(alone, place)


def test_a_party_that_is_killed_while_it_aligns_begins_again(
    model: tuple[Path, dict[str, str], Path], tmp_path: Path
) -> None:
    """The others learn of it from the network, whatever they wait for, and all align anew."""
    pytest.importorskip("private_set_intersection.python", reason="needs vflc[psi]")
    bundle, sources, _ = model
    killed, meeting = threading.Event(), exchange(bundle)

    class Killed(Exception):
        pass

    def die(network: Any) -> Any:
        """The process is gone before it answers: nothing more is said, not even that it leaves."""
        hear = network.hear

        def until(sender: str, kind: str, limit: int, timeout: float | None = None) -> bytes:
            if kind == "align.request":
                network.close = lambda reason: None
                killed.set()
                raise Killed
            payload: bytes = hear(sender, kind, limit, timeout)
            return payload

        network.hear = until
        return network

    def join(place: str, dying: bool) -> Any:
        network = meeting.join(place, TIMEOUT)
        return die(network) if dying else network

    settings = replace(SETTINGS, hub="bob")

    def party(place: str, dying: bool = False) -> Any:
        here = site(place, sources[place], lambda manifest, rows: join(place, dying))
        out = tmp_path / f"{place}.parquet"
        return align_party(bundle, replace(here, method="psi", align=settings), out)

    def alice() -> Any:
        with pytest.raises(Killed):
            party("alice", dying=True)
        return party("alice")

    found = together({"alice": alice, "bob": lambda: party("bob"), "carol": lambda: party("carol")})
    assert killed.is_set() and all(isinstance(each, dict) for each in found.values()), found
    keys = [pq.read_table(tmp_path / f"{place}.parquet").column("ID").to_pylist() for place in found]
    assert keys[0] == keys[1] == keys[2] and len(keys[0]) > 100
