"""What a party is told where another has left, fits what it was doing."""

from __future__ import annotations

import pytest
from vflc_runtime.party.joined import left
from vflc_runtime.transport.network import REASONS, Ended


@pytest.mark.parametrize("reason", [each for each in REASONS if each != "taken"])
def test_only_a_training_resumes(reason: str) -> None:
    trains, aligns = (left(Ended("bob", reason), resumes) for resumes in (True, False))
    assert trains.code == aligns.code and aligns.help is not None and trains.help is not None
    assert "--resume" in trains.help and "start it again at all parties" in aligns.help
    for word in ("--resume", "checkpoint", "saved", "the run"):
        assert word not in f"{aligns.message} {aligns.help}"
