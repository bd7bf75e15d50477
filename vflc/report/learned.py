"""Who may learn what, what ran to prevent it, and what attacks reached."""

from __future__ import annotations

from collections.abc import Sequence

from vflc_common.bound import LEAST_FIRST
from vflc_runtime.audit.report import LEVELS

from vflc.emit.manifest.learned import held_anyway
from vflc.report.elements import Html, bar, code, folded, joined, listed, note, table, tag
from vflc.report.shapes import AppliedProtection, LearnedRow, ShownScore
from vflc.report.shown import ShownRun

MOST_SCORES = 200


def learned(run: ShownRun) -> Html:
    """A row for each receiver and column, the most that may be learned first, and what is known of it."""
    rows = run.manifest.learned
    if not rows:
        return note("No place learns anything of another's columns.")
    lines = [
        [
            "other users" if row.receiver == row.party else row.receiver,
            _column(row),
            joined([_bound(row), held_anyway(row.held)]),
            ", ".join(row.programs) or "–",
            joined(map(code, row.edges[:3]), ", ") if row.edges else "–",
        ]
        for row in sorted(rows, key=lambda row: -LEAST_FIRST.index(row.bound.kind))
    ]
    heads = ["receiver", "of column", "at most", "in", "through|w"]
    told = [
        f"{each.kind}, to {each.to}, of {', '.join(each.of)}: {each.says}" for each in run.manifest.evidence
    ]
    known = [tag("p", "Known to reveal:"), listed(told)] if told else []
    return joined([table(heads, lines, "The most that a receiver can learn, as is proven"), *known])


def _column(row: LearnedRow) -> Html:
    """A column of a table, with the features and labels that are made of it under other names."""
    made = [name for name in row.features if name != row.column]
    more = tag("span", f" ({', '.join(made)})", class_="soft") if made else ""
    return joined([code(f"{row.party}.{row.column}"), more])


def _bound(row: LearnedRow) -> Html:
    return tag("b", str(row.bound), class_=f"bound {row.bound.kind}")


def protections(run: ShownRun) -> Html:
    """What ran, how often, and the ε that it cost."""
    found = (run.results or {}).get("protections", [])
    lines = [
        [
            each["mechanism"],
            each["place"],
            _options(each),
            joined(map(code, each.get("edges", [])), ", ") or "–",
            f"{each.get('steps', 0):,}",
            _spent(each.get("epsilon")),
            _spent(each.get("delta")),
            each.get("promise", each.get("privacy") or "–"),
        ]
        for each in found
    ]
    heads = ["mechanism", "at", "options", "edges|w", "steps|n", "ε spent|n", "δ|n", "promise|w"]
    privacy = (run.results or {}).get("privacy")
    users = (
        [tag("p", f"Privacy of each user: ε = {privacy['epsilon']:.4g}, δ = {privacy['delta']:.3g}.")]
        if privacy
        else []
    )
    if not lines and not users:
        return note("No mechanism of protection ran in this run.")
    return joined([*users, table(heads, lines, "Protections that ran")])


def _options(each: AppliedProtection) -> str:
    return ", ".join(f"{name} = {value}" for name, value in each["options"].items() if value is not None)


def _spent(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def audit(run: ShownRun) -> Html:
    """What `vflc audit` reached, the worst first, beside what is proven."""
    found = run.audit
    if found is None:
        said = ("This page was made without an audit: ", code("vflc audit RUN --data … --json audit.json"))
        return note(*said, ", then ", code("vflc report RUN --audit audit.json"), ".")
    ordered = sorted(found.scores, key=_level)
    worst = {(score.party, score.secret): score for score in reversed(ordered)}
    first = _scores(sorted(worst.values(), key=_level), "What attacks reached at most")
    every = folded(
        f"All {len(ordered):,} attacks", _scores(ordered[:MOST_SCORES], "Attacks, the worst first")
    )
    about = f"{found.rows:,} rows, {found.steps:,} recorded steps. "
    head = tag("p", about, "At worst: ", tag("b", found.worst, class_=found.worst), ".")
    return joined([head, first, every])


def _level(score: ShownScore) -> int:
    return LEVELS.index(score.level)


def _scores(scores: Sequence[ShownScore], title: str) -> Html:
    lines = [
        [
            score.party, code(score.secret), f"{score.attack} at {score.channel}", score.measure,
            f"{score.score:.3f}", f"{score.chance:.3f}", _meter(score), score.bound,
            _spec(score.advice or "–"),
        ]
        for score in scores
    ]  # fmt: skip
    numbers = ("measure", "score|n", "chance|n", "")
    heads = ["party", "after", "attack|w", *numbers, "may learn at most|w", "what helps|w"]
    return table(heads, lines, title)


def _spec(text: str) -> Html:
    """Text with parts of a spec between backquotes."""
    return joined(code(part) if at % 2 else part for at, part in enumerate(text.split("`")))


def _meter(score: ShownScore) -> Html:
    nothing = {"auc": 0.5, "error": 1.0}.get(score.measure, 0.0)
    everything = 0.0 if score.measure == "error" else 1.0
    far = (score.quantile - nothing) / (everything - nothing)
    return joined([tag("b", score.level, class_=score.level), bar(far, score.level)])
