"""Tables for people: how training went, what was sent, how far results lie apart."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from vflc.cli.columns import aligned, broken
from vflc.report.numbers import measures

if TYPE_CHECKING:
    from vflc_runtime.audit.report import AttackScore, Report

WIDE = 200
"""Columns of text where nobody's terminal limits them: a table in a log is not cut off."""


def console(aside: bool = False) -> Console:
    """A console for stdout, or `aside` for stderr, as wide as the terminal, or wide enough for a log."""
    stream = sys.stderr if aside else sys.stdout
    return Console(width=None if stream.isatty() else WIDE, highlight=False, stderr=aside)


def columns() -> int:
    """Columns of text to fill: the terminal's, at most a hundred; eighty where there is none."""
    return min(shutil.get_terminal_size().columns, 100) if sys.stdout.isatty() else 80


def show(screen: Console, table: Table) -> None:
    """Prints a table with an empty line above, none within, and no blanks at ends of lines."""
    with screen.capture() as shown:
        screen.print(table)
    lines = [line.rstrip() for line in shown.get().splitlines()]
    screen.file.write("\n".join(["", *(line for line in lines if line), ""]))


def alignment(report: Mapping[str, Any]) -> Table:
    """Rows that each party's table has, those that all parties have, and those left out."""
    counted = ["rows", "kept", "dropped"]
    counted += ["missing"] * any("missing" in counts for counts in report["parties"].values())
    table = _table("Rows with a common key", "party", *counted)
    for party, counts in report["parties"].items():
        table.add_row(party, *(f"{counts.get(name, 0):,}" for name in counted))
    return table


def unknown_values(report: Mapping[str, Any]) -> Table | None:
    """Values that encoders did not know, with examples; None where they knew them all."""
    table = _table("Values without their own code", "feature", "unknown", "missing", "examples")
    for name, counts in report["encoders"].items():
        if counts["unknown"] or counts["missing"]:
            examples = ", ".join(repr(value) for value in counts["examples"][:3])
            table.add_row(name, f"{counts['unknown']:,}", f"{counts['missing']:,}", examples)
    return table if table.rows else None


def sent(manifest: Mapping[str, Any], count: Mapping[str, int]) -> Table:
    """What a run sent, by edge."""
    table = _table("Sent", "edge", "from → to", "bytes")
    for edge in manifest["edges"]:
        if count.get(edge["id"]):
            table.add_row(edge["id"], f"{edge['from']} → {edge['to']}", f"{count[edge['id']]:,}")
    table.add_row("in all", "", f"{sum(count.values()):,}")
    return table


def waited(peers: Mapping[str, Mapping[str, Any]]) -> Table:
    """For whom a party waited how long, and the bytes on the wire, before encryption."""
    table = _table("Peers", "peer", "seconds waited", "bytes sent", "bytes received")
    for peer, spent in peers.items():
        table.add_row(peer, f"{spent['waited']:.1f}", f"{spent['sent']:,}", f"{spent['received']:,}")
    return table


def scores(groups: Mapping[str, Mapping[str, Any]]) -> Table:
    """Losses and metrics by name, a column for each kind of rows."""
    groups = {
        group: {name: value for name, value in found.items() if _AT.fullmatch(name) is None}
        for group, found in groups.items()
        if found
    }
    table = _table("Results", "", *groups)
    for name in dict.fromkeys(name for found in groups.values() for name in found):
        table.add_row(name, *(number(found.get(name)) for found in groups.values()))
    return table


_AT = re.compile(r"(?P<table>.*\))\.(?P<column>\w+) at (?P<row>[0-9.e-]+)")
"""What a result is called that is in a table: `thresholds(20).recall at 0.05`."""


def inner_tables(found: Mapping[str, Any]) -> list[Table]:
    """The results that are tables themselves, each with a line a threshold."""
    by_table: dict[str, dict[str, dict[str, Any]]] = {}
    for name, value in found.items():
        if (at := _AT.fullmatch(name)) is not None:
            by_table.setdefault(at["table"], {}).setdefault(at["row"], {})[at["column"]] = value
    tables = []
    for title, rows in by_table.items():
        table = _table(title, "above", *next(iter(rows.values())))
        for row, cells in rows.items():
            table.add_row(row, *map(number, cells.values()))
        tables.append(table)
    return tables


def of_folds(found: Mapping[str, Any]) -> Table:
    """Results of each fold on its part of the rows, with their mean and deviation."""
    names = list(found["mean"])
    table = _table("Results on each fold's own rows", "fold", *names, "epoch", "rows")
    for number_, fold in enumerate(found["folds"], 1):
        cells = [number(fold["validation"].get(name)) for name in names]
        table.add_row(str(number_), *cells, str(fold["saved"]["epoch"]), f"{fold['validation_rows']:,}")
    for word in ("mean", "deviation"):
        table.add_row(word, *(number(found[word][name]) for name in names), "", "")
    return table


def differences(precision: str, found: Mapping[str, Any]) -> Table:
    """Of every pair of ways the largest difference of each kind, as it is held against the limit."""
    kinds = list(found["pairs"][0]["worst"])
    title = f"{precision}: largest differences, at most {found['limit']:.0e}"
    table = _table(title, "between", *(f"{kind}s" if kind != "loss" else "losses" for kind in kinds))
    for pair in found["pairs"]:
        cells = (pair["worst"][kind] for kind in kinds)
        table.add_row(" | ".join(pair["ways"]), *(small(cell and cell["measure"]) for cell in cells))
    return table


def worst_differences(found: Mapping[str, Any]) -> Table:
    """Of each kind the difference that is worst between any two ways, and where it is."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("worst", "name", "between", "absolute", "relative", "step", ""):
        table.add_column(header, justify="right" if header in ("absolute", "relative", "step") else "left")
    for kind in found["pairs"][0]["worst"]:
        there = [(p["worst"][kind], p) for p in found["pairs"] if p["worst"][kind] is not None]
        if there:
            worst, pair = max(there, key=lambda each: each[0]["measure"] / each[1]["limit"])
            step = "" if worst["step"] is None else f"{worst['step']:,}"
            beyond = "beyond the limit" if worst["measure"] > pair["limit"] else ""
            sizes = small(worst["absolute"]), small(worst["relative"])
            table.add_row(kind, worst["name"], " | ".join(pair["ways"]), *sizes, step, beyond)
    return table


def audited(scores: Sequence[AttackScore], width: int) -> str:
    """What attacks found, a block for each party and secret."""
    lines = ["What adversaries learn"]
    blocks: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for score in scores:
        looks_at = f"{score.channel} {'sent' if score.sent else score.phase}"
        numbers = (f"{value:.3f}" for value in (score.score, score.quantile, score.chance))
        row = (f"{score.attack} at {looks_at}", score.measure, *numbers, score.level)
        blocks.setdefault((score.party, score.secret), []).append(row)
    for (party, secret), rows in blocks.items():
        header = ("attack", "measure", "score", "95 %", "chance", "")
        lines += ["", f"{party}, after {secret}", *aligned([header, *rows], width, {2, 3, 4})]
    return "\n".join(lines)


def reached(report: Report, width: int) -> str:
    """Of each receiver and secret what is proven beside what was reached, and bounds put to the test."""
    header = ("who", "after", "reached", "by", "may learn at most")
    rows = [
        (
            each["party"],
            each["secret"],
            f"{each['measure']} {each['score']:.3f}",
            each["attack"],
            each["bound"],
        )
        for each in report.reached
    ]
    lines = ["Attacks compared with what is proven", *aligned([header, *rows], width)] if rows else []
    if report.trials is None:
        return "\n".join([*lines, "", "Bounds were not tested."])
    if not report.trials:
        none = "No bound could be tested: nothing was received, or a whole code or column may be learned."
        return "\n".join([*lines, "", *broken(none, width)])
    lines += ["", "Tested bounds, on freshly drawn cells"]
    tried = [
        (
            each.party, each.secret, f"{each.right:,} of {each.count:,}", f"{each.most:.0%}",
            "REFUTED" if each.refuted else "holds", f"{each.attack}; {each.bound}",
        )
        for each in report.trials
    ]  # fmt: skip
    heads = ("who", "after", "right", "at most", "", "by; bound")
    return "\n".join([*lines, *aligned([heads, *tried], width, {2, 3})])


def small(value: float | None) -> str:
    """A difference: its order of magnitude is what matters."""
    return "-" if value is None else f"{value:.1e}" if value else "0"


def _table(title: str, first: str, *rest: str) -> Table:
    """A table whose first column is text and whose other columns are numbers."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for header in rest:
        table.add_column(header, justify="left" if header in ("from → to", "examples") else "right")
    return table


def number(value: Any) -> str:
    """A number as people read it: counts in groups of three, measures to four places."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return measures(value)[0]
    return f"{value:,}" if isinstance(value, int) else str(value)


def numbers(values: Sequence[float | None]) -> list[str]:
    """Measures that are compared with each other: all as `number` writes the largest."""
    written = iter(measures(*(value for value in values if value is not None)))
    return ["-" if value is None else next(written) for value in values]
