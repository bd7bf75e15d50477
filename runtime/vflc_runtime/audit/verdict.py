"""From a score to a level, a sentence, and what would help."""

from __future__ import annotations

from vflc_runtime.audit.report import LeakLevel
from vflc_runtime.audit.scores import Spread

RECOVERED = 0.99
"""Mean AUC or share of rows from which on a label is as good as sent."""
LEAKS = 0.95
"""95 % quantile of the AUC that is called a leak in the literature's unprotected models."""
MARGIN = 0.05
"""By how much a score must beat chance to count at all."""
ERRORS: tuple[tuple[float, LeakLevel], ...] = ((0.01, "recovered"), (0.5, "leaks"), (0.9, "hints"))
"""Relative errors of inverted features, at most so much for each level."""


_LABEL = "`protect {secret} with label_dp(epsilon = 1)`, which bounds what any attack learns of a class"
_EDGE = "fewer numbers a row by a `release` limit, or `gaussian(clip, epsilon, delta)` on the edge"
_GRADIENTS = (
    "a bottom at {party} that is trained before and frozen (`stop_gradient`): nothing comes back then"
)
_REMEDIES = {
    "residual": "`protect gradients to {party} with gaussian(clip, epsilon, delta)`",
    "spectral": _EDGE,
    "completion": "{rest}: gradients are what taught the bottom of {party} about the label",
    "linear": "a nonlinear bottom of fewer units than features, a `release` limit, or noise on the edge",
    "decoder": _EDGE,
    "start": "`secret_start true` in `train`, which shuts this way and no other; {rest}",
    "initial": "`secret_start true` in `train`, or `gaussian(clip, epsilon, delta)` on the edge",
}


def of_label(spread: Spread) -> LeakLevel:
    """How bad a label's score over batches is."""
    if spread.mean >= RECOVERED:
        return "recovered"
    if spread.quantile >= LEAKS and spread.quantile > spread.chance + MARGIN:
        return "leaks"
    return "hints" if spread.quantile > spread.chance + MARGIN else "quiet"


def of_completion(score: float, plain: float) -> LeakLevel:
    """How bad it is what a bottom adds to a party's own columns."""
    if score <= plain + MARGIN:
        return "quiet"
    return "leaks" if score >= LEAKS else "hints"


def of_error(error: float) -> LeakLevel:
    """How bad an inverted feature is."""
    return next((level for most, level in ERRORS if error <= most), "quiet")


def sentence(level: LeakLevel, party: str, secret: str, how: str, linked: bool = False) -> str:
    """The verdict for a person; `linked` where rows of one value are found, and not which value it is."""
    if linked and level in ("recovered", "leaks"):
        all_or_many = "all" if level == "recovered" else "many"
        return f"{party} can link {all_or_many} rows that have one {secret}: {how}"
    return {
        "recovered": f"{party} can read {secret} row by row: {how}",
        "leaks": f"{party} can tell {secret} for many rows: {how}",
        "hints": f"{party} guesses {secret} better than without these messages: {how}",
        "quiet": f"{party} learns nothing of {secret} this way",
    }[level]


def advice(attack: str, party: str, secret: str, level: LeakLevel, phase: str | None = None) -> str | None:
    """The remedy, where there is anything; `phase` is the one that told of a feature, None for a label."""
    if level == "quiet":
        return None
    general = {"backward": _GRADIENTS, "forward": _EDGE, None: _LABEL}[phase]
    rest = general.format(party=party, secret=secret)
    return _REMEDIES.get(attack, general).format(party=party, secret=secret, rest=rest)
