"""What the party with many rows a key tells of them is checked before it is used."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from vflc_runtime.data.spread import KeySpread
from vflc_runtime.errors import Failure
from vflc_runtime.party.counts import (
    hear_at,
    hear_counts,
    hear_patterns,
    hear_which,
    tell_at,
    tell_counts,
    tell_patterns,
    tell_which,
)
from vflc_runtime.party.peers import Peers


class Said:
    """Peers of which one says what it is made to say."""

    manifest = SimpleNamespace(missing=("alice", "carol"), knows=lambda place, party: True)

    def __init__(self, *payloads: bytes) -> None:
        self.payloads: dict[str, list[bytes]] = {}
        self.any = [*payloads]
        self.network = SimpleNamespace(tell=lambda peer, kind, payload: self.tell(kind, payload))

    def receivers(self, kind: str) -> tuple[str, ...]:
        return ("alice",)

    def tell(self, kind: str, payload: bytes) -> None:
        self.payloads.setdefault(kind, []).append(payload)

    def hear(self, peer: str, kind: str) -> bytes:
        return self.payloads[kind].pop(0) if kind in self.payloads else self.any.pop(0)


def peers(said: Said) -> Peers:
    return cast(Peers, said)


def head(*numbers: int) -> bytes:
    return np.array(numbers, ">u8").tobytes()


def of(*numbers: int) -> bytes:
    return np.array(numbers, ">u4").tobytes()


@pytest.mark.parametrize("keys", [1, 7, 70_000])
def test_what_is_told_is_heard(keys: int) -> None:
    drawn = np.random.default_rng(keys)
    counts, lacks = drawn.integers(1, 9, keys), np.sort(drawn.integers(0, 4, keys))
    lacks[0] = 0
    said = Said()
    tell_counts(peers(said), counts)
    tell_patterns(peers(said), lacks)
    tell_which(peers(said), "alice", lacks)
    tell_which(peers(said), "dave", lacks)
    assert (hear_counts(peers(said), "bob", keys, 10**6) == counts).all()
    assert (hear_patterns(peers(said), "bob", 10**6) == lacks).all()
    assert (hear_which(peers(said), "bob", keys) == lacks).all()
    assert not any(said.payloads.values())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([b"short"], "VFL0655"),
        ([head(2, 10**9)], "VFL0667"),
        ([head(3, 5)], "VFL0655"),
        ([head(0, 0)], "VFL0655"),
        ([head(2, 1)], "VFL0655"),
        ([head(2, 5), of(5)], "VFL0655"),
        ([head(2, 5), of(2, 2)], "VFL0655"),
        ([head(2, 5), of(5, 0)], "VFL0655"),
        ([head(2, 5), of(2**32 - 1, 6)], "VFL0655"),
    ],
)
def test_counts_that_cannot_be_are_refused(said: list[bytes], code: str) -> None:
    with pytest.raises(Failure) as caught:
        hear_counts(peers(Said(*said)), "bob", 2, 1000)
    assert caught.value.code == code


ALL_LACKED = [head(0, 2, 0, 3), head(0, 0, 0, 0)]


@pytest.mark.parametrize("said", [b"", head(2, 3), head(10**9, 1, 0, 0), head(1, 0, 0, 2**63), *ALL_LACKED])
def test_presence_that_cannot_be_is_refused(said: bytes) -> None:
    with pytest.raises(Failure, match="VFL0655"):
        hear_patterns(peers(Said(said)), "bob", 1000)
    with pytest.raises(Failure, match="VFL0655"):
        hear_which(peers(Said(b"too long for two keys")), "bob", 2)


def test_what_is_told_of_a_part_of_the_key() -> None:
    said = Said()
    for at, heard in (([2, -1, 0, 2], [1, -1, 0, 1]), (range(70_000), range(70_000))):
        tell_at(peers(said), "carol", np.array(at))
        told = hear_at(peers(said), "bob", "carol", len(at), 10**6, True)
        assert told.tolist() == [*heard], "keys of joined rows are numbered alone"


@pytest.mark.parametrize(
    "said",
    [
        [b"short"],
        [head(0)],
        [head(3), of(1, 2, 3)],
        [head(10**9)],
        [head(2), of(1)],
        [head(2), of(1, 2**32 - 1)],
        [head(2), of(2**32 - 1, 2**32 - 1)],
    ],
)
def test_keys_that_cannot_be_are_refused(said: list[bytes]) -> None:
    with pytest.raises(Failure, match="VFL0655"):
        hear_at(peers(Said(*said)), "bob", "carol", 2, 1000, may_lack=False)


def test_sums_and_copies_of_distinct_rows() -> None:
    drawn = np.random.default_rng(5)
    for _ in range(20):
        rows = drawn.integers(-1, 4, drawn.integers(1, 12)).astype(np.int64)
        spread = KeySpread.of(rows)
        values: Any = drawn.normal(size=(len(rows), 3))
        sums = {row: values[rows == row].sum(axis=0) for row in set(rows.tolist()) - {-1}}
        found = spread.summed(values)
        for at, row in enumerate(spread.taken.tolist()):
            np.testing.assert_allclose(found[at], sums.get(row, np.zeros(3)), atol=1e-12)
        copied = spread.expanded(spread.taken[:, None].astype(float) + 1)
        assert (copied[:, 0] == np.where(rows < 0, 0, rows + 1)).all()
