"""Parties compare what they run: the manifest's digest, and the Keras files where one of them runs these."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from vflc_runtime.errors import Failure
from vflc_runtime.party.agreement import compare


class Told:
    """A party's view of one peer that has said all it will."""

    def __init__(self, **hello: Any) -> None:
        self.network = SimpleNamespace(place="alice")
        self._hello = {"digest": "d", "reads": "onnx", "keras": None, "nonce": "n", **hello}

    def tell_json(self, kind: str, content: dict[str, Any]) -> None:
        pass

    def senders(self, kind: str) -> list[str]:
        return ["bob"]

    def hear_json(self, peer: str, kind: str) -> dict[str, Any]:
        return self._hello


def agree(mine: tuple[str, str | None], theirs: tuple[str, str | None]) -> str:
    peers: Any = Told(reads=theirs[0], keras=theirs[1])
    return compare(peers, {"digest": "d"}, *mine)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (("onnx", None), ("onnx", None)),
        (("onnx", "k"), ("onnx", None)),
        (("onnx", "k"), ("onnx", "other")),
        (("keras", "k"), ("onnx", "k")),
        (("onnx", "k"), ("keras", "k")),
        (("keras", "k"), ("keras", "k")),
    ],
)
def test_keras_files_that_nobody_runs_may_differ(
    mine: tuple[str, str | None], theirs: tuple[str, str | None]
) -> None:
    assert agree(mine, theirs)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (("keras", "k"), ("onnx", None)),
        (("onnx", None), ("keras", "k")),
        (("keras", "k"), ("onnx", "other")),
        (("onnx", "k"), ("keras", "other")),
        (("keras", "k"), ("keras", "other")),
        (("onnx", None), ("keras", None)),
    ],
)
def test_keras_files_that_somebody_runs_are_everybodys(
    mine: tuple[str, str | None], theirs: tuple[str, str | None]
) -> None:
    with pytest.raises(Failure) as failed:
        agree(mine, theirs)
    assert failed.value.code == "VFL0650" and "--backend all" in str(failed.value.help)


def test_a_changed_digest_is_told_first() -> None:
    with pytest.raises(Failure, match="digest"):
        compare(Told(digest="e", reads="keras"), {"digest": "d"})  # type: ignore[arg-type]
