"""What was read: rows, values that encoders did not know, and how columns differ from those of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vflc_runtime.run.drift import Drift

from vflc.report.charts import beside
from vflc.report.elements import Html, code, folded, joined, note, table, tag
from vflc.report.shapes import DataCounts
from vflc.report.shown import ShownRun

SOME, MUCH = 0.1, 0.25
"""From these indices on a column has changed somewhat, and much (Siddiqi, 2006)."""
MOST_DRIFTS = 60
"""Columns that are drawn; of more, the rest is listed when asked for, without bars."""


def data(run: ShownRun) -> Html:
    """Of training, and of an evaluation if there is one."""
    parts: list[object] = []
    counts = (run.results or {}).get("data")
    if counts is not None:
        parts += [_rows(counts, "Rows of training"), _unplaced(counts, "Values without a code, in training")]
    if run.evaluation is not None:
        other = run.evaluation["data"]
        parts += [_rows(other, "Rows of the evaluation"), _unplaced(other, "Values without a code, in it")]
    return joined(parts) if any(parts) else note("What was read is known when the run ends.")


def _rows(counts: DataCounts, title: str) -> Html:
    lines = [
        [party, *(f"{each.get(key, 0):,}" for key in ("rows", "kept", "dropped"))]
        for party, each in counts["parties"].items()
    ]
    return table(["party", "rows|n", "with a common key|n", "dropped|n"], lines, title)


def _unplaced(counts: DataCounts, title: str) -> Html:
    """Values of tables are given as examples: the page is its party's own."""
    lines = [
        [code(name), f"{each['unknown']:,}", f"{each['missing']:,}", ", ".join(each["examples"][:3])]
        for name, each in counts["encoders"].items()
        if each["unknown"] or each["missing"]
    ]
    return table(["column", "unknown|n", "missing|n", "for example|w"], lines, title)


def drift(run: ShownRun) -> Html:
    """Each column of the training rows beside those of validation and evaluation."""
    parts = [_drifts(run.drift, "Validation rows beside training rows")]
    if run.evaluation is not None:
        parts.append(_drifts(run.evaluation.get("drift", {}), "Evaluated rows beside training rows"))
    if not any(parts):
        return note("There are no other rows to compare those of training with.")
    about = note(
        "The population stability index (Siddiqi, 2006) over the bins drawn: below 0.1 a column is much as "
        "it was in training, from 0.25 on it has changed much. “By chance” is what one of twenty columns "
        "exceeds though nothing has changed (Yurdakul, 2018). Left bars are training rows, right ones the "
        "others."
    )
    return joined([about, *parts])


def _drifts(found: Mapping[str, Drift], title: str) -> Html:
    if not found:
        return Html("")
    heads = ["column", "index|n", "by chance|n", "", "bins"]
    first = dict(list(found.items())[:MOST_DRIFTS])
    whole = table(heads, _lines(first), title)
    rest = {name: each for name, each in found.items() if name not in first}
    if not rest:
        return whole
    more = [[code(name), f"{each['psi']:.4f}", f"{each['chance']:.4f}"] for name, each in rest.items()]
    return joined([whole, folded(f"{len(rest):,} more columns", table(heads[:3], more, title))])


def _lines(found: Mapping[str, Drift]) -> Iterator[list[object]]:
    for name, each in found.items():
        bars = beside(each["names"], each["before"], each["after"], f"shares of the bins of {name}")
        yield [code(name), f"{each['psi']:.4f}", f"{each['chance']:.4f}", _judged(each), bars]


def _judged(each: Drift) -> Html:
    """In a word, whatever the colours say."""
    psi = each["psi"]
    if psi <= each["chance"] or psi < SOME:
        return tag("span", "as in training", class_="quiet")
    return (
        tag("b", "changed much", class_="recovered") if psi >= MUCH else tag("b", "changed", class_="hints")
    )
