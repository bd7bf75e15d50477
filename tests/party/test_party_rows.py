"""A party's rows, brought into step again after peers began anew."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from vflc_runtime.party import rows

KEYS = pa.array(["a", "b", "c"])


class Gone(Exception):
    """Another party began anew in the middle."""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The rows of a place whose alignments give what `answers` holds; `asked` counts them."""
    answers: list[Any] = []
    asked: list[str] = []

    def align(*_: Any) -> Any:
        asked.append("align")
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return np.array(answer)

    monkeypatch.setattr(rows, "align", align)
    manifest = SimpleNamespace(missing=(), many=None, parts=(), once=(), first="alice")
    bundle = SimpleNamespace(parties=("alice",), manifest=manifest)
    peers = SimpleNamespace(network=SimpleNamespace(place="alice"), receivers=lambda message: ["bob"])
    made = rows.PlaceRows(peers, bundle, "hash", None, print)  # type: ignore[arg-type]
    return SimpleNamespace(rows=made, answers=answers, asked=asked)


def read(agree: Any) -> Any:
    """A table: what is read of it are its common rows."""
    common = agree(KEYS).positions
    return SimpleNamespace(rows=len(common), common=common.tolist())


def test_who_is_interrupted_while_it_aligns_again_aligns_once_more(place: Any) -> None:
    place.answers += [[0, 1, 2], Gone(), [0, 1, 2]]
    assert place.rows.load(read) == 3
    with pytest.raises(Gone):
        place.rows.load(read)
    assert place.rows.load(read) == 3
    assert len(place.asked) == 3


def test_rows_that_could_not_be_read_again_are_not_those_of_before(place: Any) -> None:
    place.answers += [[0, 1, 2], [0, 2], [0, 2]]
    place.rows.load(read)

    def fails(agree: Any) -> Any:
        raise Gone

    with pytest.raises(Gone):
        place.rows.load(fails)
    assert place.rows.load(read) == 2 and place.rows.data.common == [0, 2]
