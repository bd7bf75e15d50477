"""What an audit found, as data, and in words for a person who decides about a release."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

LeakLevel = Literal["recovered", "leaks", "hints", "quiet"]
LEVELS: tuple[LeakLevel, ...] = ("recovered", "leaks", "hints", "quiet")
"""From bad to good."""
MEANING: dict[LeakLevel, str] = {
    "recovered": "a secret of another party can be read as if it had been sent",
    "leaks": "a secret of another party can be told for many rows",
    "hints": "what was received makes guesses better than they would be without it",
    "quiet": "no attack does better than guessing",
}


@dataclass(frozen=True, slots=True)
class AttackScore:
    """One attack of one party on one secret.

    Args:
        party: who is curious.
        secret: the label or feature that it is after, as `party.column`.
        channel: the edge it looked at, or `all` edges of the phase together.
        edges: their ids.
        phase: `forward` or `backward`; `sent` where the party sent the values itself.
        attack, title, paper, knows: what was done, whom it follows, what it assumes to be known.
        measure: of `score`: `auc`, `purity` or `accuracy` (share of rows), `correlation`, or `error`
            (squared, against guessing the mean: 0 is exact, 1 is nothing).
        score: mean over batches, or over draws of what is known.
        quantile: the score that 95 % of the batches do not exceed; of an `error` the mean again.
        chance: what the same attack scores where there is nothing to find, or without the messages.
        batches: how many batches or draws.
        level: how bad it is.
        verdict: the same in a sentence.
        bound: what is proven of the secret, in words.
        advice: what would help.
        details: more numbers, by name.
    """

    party: str
    secret: str
    channel: str
    edges: tuple[str, ...]
    phase: str
    sent: bool
    attack: str
    title: str
    paper: str
    knows: str
    measure: str
    score: float
    quantile: float
    chance: float
    batches: int
    level: LeakLevel
    verdict: str
    bound: str
    advice: str | None
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoundTest:
    """A bound put to the test: what the attack that went farthest named, on columns that are drawn afresh.

    Args:
        party, secret: who is curious, after what.
        bound: what is proven, in words.
        attack, channel, program: what was done, with what crossed when.
        count, right: rows that it gave a class, and how many have it.
        most: the share that could be right where the bound holds.
        p: the probability of as many where it does, for any of all the trials together.
        refuted: whether that is too small to be chance.
    """

    party: str
    secret: str
    bound: str
    attack: str
    channel: str
    program: str
    count: int
    right: int
    most: float
    p: float
    refuted: bool = False

    @property
    def sentence(self) -> str:
        """What was reached beside what could be, for a person."""
        most = int(self.most * self.count)
        return (
            f"{self.party} named {self.right:,} of {self.count:,} rows of {self.secret} rightly "
            f"({self.attack} at {self.channel}), about {most:,} is the most by its bound, {self.bound}"
        )

    def corrected(self, trials: int, risk: float) -> BoundTest:
        """For so many trials at once, of which none must be mistaken but with probability `risk`."""
        p = min(1.0, self.p * trials)
        return replace(self, p=p, refuted=p < risk)


@dataclass(frozen=True, slots=True)
class Report:
    """All scores of a run, and what the scores are about.

    Args:
        model, digest: of the bundle.
        rows, steps, batch: aligned rows, steps that were recorded, rows a step.
        task: how good the model is, as the run measured it.
        known: labels, and rows, that learning attacks were given.
        edges: of the manifest, with protections, findings and waivers.
        passed: edges that no attack is made for, and why.
        scores: of every party.
        trials: of bounds that guesses can refute; None where none was put to the test.
        runs: how many were attacked together.
    """

    model: str
    digest: str
    rows: int
    steps: int
    batch: int
    task: dict[str, Any]
    known: dict[str, int]
    edges: tuple[dict[str, Any], ...]
    passed: dict[str, str]
    scores: tuple[AttackScore, ...]
    trials: tuple[BoundTest, ...] | None = None
    runs: int = 1

    @property
    def worst(self) -> LeakLevel:
        """The worst level of any score."""
        return min((score.level for score in self.scores), key=LEVELS.index, default="quiet")

    @property
    def reached(self) -> list[dict[str, Any]]:
        """Of each receiver and secret what is proven, and the attack that got nearest to it."""
        return [
            {
                "party": score.party, "secret": score.secret, "bound": score.bound, "attack": score.attack,
                "channel": score.channel, "measure": score.measure, "score": score.score,
                "level": score.level,
            }
            for score in worst(self.scores)
        ]  # fmt: skip

    def data(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {"format": 3, "worst": self.worst, "reached": self.reached, **asdict(self)}


def worst_first(scores: Iterable[AttackScore]) -> list[AttackScore]:
    """Scores ordered by how bad they are.

    Of one level labels come first, links last of these; then attacks that know nothing besides, then what is
    far from chance.
    """

    def order(score: AttackScore) -> tuple[int, int, bool, float]:
        kind = {"error": 2, "pairs": 1}.get(score.measure, 0)
        return LEVELS.index(score.level), kind, bool(score.knows), -abs(score.score - score.chance)

    return sorted(scores, key=order)


def heads(scores: Iterable[AttackScore]) -> list[AttackScore]:
    """Of each party and secret the attacks, each on the channel where it did best; worst first."""
    best: dict[tuple[str, str, str], AttackScore] = {}
    for score in worst_first(scores):
        best.setdefault((score.party, score.secret, score.attack), score)
    return worst_first(best.values())


def worst(scores: Iterable[AttackScore]) -> list[AttackScore]:
    """Of each party and secret the worst score; worst first."""
    found: dict[tuple[str, str], AttackScore] = {}
    for score in worst_first(scores):
        found.setdefault((score.party, score.secret), score)
    return list(found.values())
