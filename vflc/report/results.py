"""What runs reached: a table of all, and curves of their losses and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vflc_common.metrics import smaller_is_better

from vflc.report.charts import Chart, ChartAxis, Series, side_by_side
from vflc.report.elements import Html, html, joined, note, section, table, tag
from vflc.report.numbers import duration, measure
from vflc.report.shapes import EpochResults
from vflc.report.shown import ShownRun

ROWS = ("train", "validation", "test", "evaluation")
CALLED = {"train": "training"}
"""What rows are called, where it is another word."""
SETTINGS = ("seed", "batch", "epochs", "rounds", "cohort", "validation", "fold", "shuffle")
"""Of run.json, those that are shown where runs differ in them."""
SAME_ROWS = ("data", "kept", "seed", "validation", "fold")
"""What decides which rows are held out, and of which tables."""
OTHER_ROWS = "The runs were not measured on the same rows: their tables, seeds or validation differ."
MOST_CURVES = 24
"""Losses and metrics that are drawn; the table has all."""


def results(runs: Sequence[ShownRun]) -> Html:
    """The section."""
    return section("results", "Results", _reached(runs), *_states(runs), _curves(runs))


def _reached(runs: Sequence[ShownRun]) -> Html:
    """A row for each result, a column for each run and kind of rows; the best of several runs is marked."""
    scores = {(i, rows): _scores(run, rows) for i, run in enumerate(runs) for rows in ROWS}
    shown = {key: found for key, found in scores.items() if found}
    if not shown:
        return note("No result of these runs is known here: a place without labels is told none.")
    names = list(dict.fromkeys(name for found in shown.values() for name in found))
    columns = [key for key in scores if key in shown]
    titles = [_title(runs, *key) for key in columns]
    lines = []
    for name in names:
        best = _best_of(name, {key: shown[key].get(name) for key in columns}) if len(runs) > 1 else {}
        lines.append([name, *(_value(shown[key].get(name), key in best) for key in columns)])
    differing = [name for name in SETTINGS if len({str(run.settings.get(name)) for run in runs}) > 1]
    for name in differing:
        values = [runs[i].settings.get(name) for i, _ in columns]
        lines.append([f"setting {name}", *("–" if value is None else str(value) for value in values)])
    same = len({tuple(str(run.settings.get(name)) for name in SAME_ROWS) for run in runs}) == 1
    whole = table(["", *(f"{title}|n" for title in titles)], lines, "Results of the saved models")
    return whole if same else joined([whole, note(OTHER_ROWS)])


def _title(runs: Sequence[ShownRun], run: int, rows: str) -> str:
    called = CALLED.get(rows, rows)
    return f"{runs[run].name}: {called}" if len(runs) > 1 else called


def _value(value: float | None, best: bool) -> Html:
    return tag("b", measure(value), " ★", class_="best") if best else html(measure(value))


def _best_of(name: str, values: Mapping[tuple[int, str], float | None]) -> set[tuple[int, str]]:
    """Of each kind of rows the run with the best value, where it is known which way is better."""
    smaller = smaller_is_better(name)
    found = set()
    for rows in ROWS if smaller is not None else ():
        known = {k: v for k, v in values.items() if k[1] == rows and v is not None and math.isfinite(v)}
        if len(known) > 1:
            found.add((min if smaller else max)(known, key=lambda key: known[key]))
    return found


def _scores(run: ShownRun, rows: str) -> dict[str, float | None]:
    """Of the saved model, or while it runs, of the last line of the history."""
    if rows == "evaluation":
        scores = {} if run.evaluation is None else run.evaluation["evaluation"]
        return {
            name: value for name, value in scores.items() if " at " not in name
        }  # no tables of thresholds
    if run.results is not None:
        found: dict[str, float | None] = run.results.get(rows, {})  # type: ignore[assignment]
        return found
    last = next((line for line in reversed(run.history) if line.get(rows)), None)
    return dict(last[rows]) if last is not None and rows != "test" else {}  # type: ignore[literal-required]


def _states(runs: Sequence[ShownRun]) -> list[Html]:
    return [tag("p", joined([tag("b", run.name), f": {_state(run)}"])) for run in runs]


def _state(run: ShownRun) -> str:
    """How far a run is, in a sentence."""
    found = run.results
    if run.now is not None:
        return run.now
    if found is None:
        done = f"{len(run.history):,} {run.unit}s are measured" if run.history else "nothing is measured yet"
        return f"the run has not ended; {done}"
    count = found.get("rounds", found.get("steps", 0))
    parts = [f"{found.get('ended', 'ended')}, {count:,} {'rounds' if 'rounds' in found else 'steps'}"]
    parts += [f"in {duration(found['seconds'])}"] if "seconds" in found else []
    if rate := found.get("rows_per_second"):
        parts.append(f"{rate:,.0f} rows a second in training")
    saved, best = found.get("saved") or {}, found.get("best") or {}
    if "epoch" in saved:
        parts.append(f"the saved model is of epoch {saved['epoch']}, the {saved.get('why')}")
    if best.get("metric"):
        parts.append(f"best {best['metric']} in epoch {best.get('epoch')}")
    return "; ".join(parts)


def _curves(runs: Sequence[ShownRun]) -> Html:
    """A chart for the loss and each metric: training rows dashed, validation rows drawn through."""
    names: dict[str, None] = {}
    for run in runs:
        for line in run.history:
            names |= dict.fromkeys([*line["train"], *line["validation"]])
    shown = list(names)[:MOST_CURVES]
    unit = runs[0].unit if len({run.unit for run in runs}) == 1 else "epoch or round"
    charts = [
        Chart(name, ChartAxis(unit, whole=True), ChartAxis(name), _lines(runs, name)).figure()
        for name in shown
    ]
    left = len(names) - len(shown)
    more = [note(f"{left:,} more results are in history.jsonl.")] if left else []
    return joined([side_by_side(charts), *more])


def _lines(runs: Sequence[ShownRun], name: str) -> list[Series]:
    lines = []
    for i, run in enumerate(runs):
        for rows, dash in (("train", 1), ("validation", 0)):
            points = [_point(run, line, rows, name) for line in run.history]
            if not any(points):
                continue
            at = next((k for k, p in enumerate(points) if p is not None and p[0] == run.best), None)
            called = f"{run.name}, {CALLED.get(rows, rows)}" if len(runs) > 1 else CALLED.get(rows, rows)
            judged = rows == "validation" or not any(line["validation"] for line in run.history)
            colour = i if len(runs) > 1 else 1 - dash
            lines.append(Series(called, points, colour=colour, dash=dash, best=at if judged else None))
    return lines


def _point(run: ShownRun, line: EpochResults, rows: str, name: str) -> tuple[float, float] | None:
    value = line[rows].get(name)  # type: ignore[literal-required]
    at = line.get("epoch", line.get("round"))
    return None if value is None or at is None or not math.isfinite(value) else (at, value)
