"""Tables of epochs and of audits fit eighty columns, and lose nothing."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snapshot import same_as
from vflc_runtime import events

from vflc.api.tables import Table
from vflc.cli.progress import Screen
from vflc.cli.tables import audited, number, numbers
from vflc.report.numbers import measure

SNAPSHOTS = Path(__file__).parent / "snapshots"
METRICS = ("loss", "auc", "accuracy", "precision", "recall", "calibration")


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_epochs(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {name: 0.1234 + number for number, name in enumerate(METRICS[:count])}
    with Screen() as screen:
        for epoch in (1, 2):
            screen(events.EpochStarted(epoch, 2, 10))
            screen(events.EpochEnded(epoch, 12.345, scores, scores, epoch == 2))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for at, name in enumerate(METRICS[:count]):
        assert shown.count(name) >= 2 and shown.count(f"{at}.1234") == 4
    assert shown.count("best") == 1 and "1/2" in shown and "2/2" in shown
    if count in (2, 6):
        same_as(SNAPSHOTS / f"epochs_{count}.txt", shown)


def test_no_line_ends_within_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"ndcg({n}) by User" for n in range(5, 45)]
    scores = {name[: 5 + i % 9] + name[-8:]: 0.5 for i, name in enumerate(names)}
    with Screen() as screen:
        screen(events.EpochStarted(1, 1, 10))
        screen(events.EpochEnded(1, 1.0, scores, scores, False))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(any(f"{name} 0.5000" in line for line in lines) for name in scores)


def test_each_fold_has_the_names_above_its_results(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen() as screen:
        for _ in range(2):
            screen(events.Loaded(4, {"parties": {}, "encoders": {}}, 0.1))
            for epoch in (1, 2):
                screen(events.EpochStarted(epoch, 2, 1))
                screen(events.EpochEnded(epoch, 1.0, {"loss": 1.0, "auc": 0.5}, {}, False))
    assert capsys.readouterr().out.count("auc") == 2


def score(**other: Any) -> Any:
    known = {
        "party": "alice", "secret": "bob.liked", "attack": "sign of the sum", "channel": "a.deep.gradient",
        "sent": False, "phase": "backward", "measure": "auc", "score": 0.98765, "quantile": 1.0,
        "chance": 0.5, "level": "told",
    }  # fmt: skip
    return SimpleNamespace(**{**known, **other})


def test_audits() -> None:
    long = "experts.mixture_of_three.tower_number_one.deep.gradient"
    scores = [score(), score(channel=long), score(party="bob", secret="alice.Age", sent=True)]
    for width in (60, 80, 200):
        shown = audited(scores, width)
        assert max(map(len, shown.splitlines())) <= width
        assert set(shown.split()) >= {long, "a.deep.gradient", "0.988", "1.000", "0.500", "told", "auc"}
    same_as(SNAPSHOTS / "audited.txt", audited(scores, 80))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.0000"), (9.99e-4, "9.990e-04"), (0.001, "0.0010"), (-0.5, "-0.5000"),
        (5637.12341, "5,637.1234"),
        (9999.99996, "10,000"), (56_370.4, "56,370"), (-1_234_567.8, "-1,234,568"), (2.5e12, "2.500e+12"),
        (float("nan"), "nan"), (float("inf"), "inf"), (12_345, "12,345"), (None, "-"),
    ],
)  # fmt: skip
def test_a_number_is_written_as_people_write_it(value: float | None, written: str) -> None:
    assert number(value) == written
    if isinstance(value, float) and math.isfinite(value):
        assert repr(Table(["x"], [[value]])).split() == ["x", written] and measure(value) == written


def test_measures_beside_each_other_are_written_alike() -> None:
    assert numbers([0.25, 0.0, 1e-4, -3e-9, None]) == ["0.2500", "0.0000", "0.0001", "0.0000", "-"]
    assert numbers([2e-4, 1.5e-5]) == ["2.000e-04", "1.500e-05"] and numbers([]) == []
    assert numbers([56_370.4, 0.4, -0.4, None]) == ["56,370", "0", "0", "-"]
    for other in (math.nan, math.inf, -math.inf):
        assert numbers([other, 0.5, 1e-4])[1:] == numbers([0.5, 1e-4, other])[:2] == ["0.5000", "0.0001"]
