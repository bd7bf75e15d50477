"""How good predictions are, at the owner of the label: calibration, ROC and precision, and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from vflc_runtime.curves import CurveData

from vflc.report import bins
from vflc.report.charts import Chart, ChartAxis, Series, side_by_side
from vflc.report.elements import Html, folded, joined, note, section, table, tag
from vflc.report.numbers import measure, padded, share
from vflc.report.shown import ShownRun

UNIT = (0.0, 1.0)


class Predictions(Struct, frozen=True):
    """What rows of a run a prediction was counted on."""

    title: str
    data: CurveData
    colour: int
    dash: int


def quality(runs: Sequence[ShownRun]) -> Html:
    """The section: each prediction, on validation rows and those of an evaluation, for all runs together."""
    by_name: dict[str, list[Predictions]] = {}
    for i, run in enumerate(runs):
        before = f"{run.name}, " if len(runs) > 1 else ""
        for kept in run.curves.values():
            title = f"{before}validation, epoch {kept['epoch']}"
            _add(by_name, kept["predictions"], title, i, 0)
        if run.evaluation is not None:
            title = f"{before}evaluation of {run.evaluation['rows']:,} rows"
            colour = i if len(runs) > 1 else 1
            _add(by_name, run.evaluation.get("curves", {}), title, colour, 1)
    parts = [_prediction(name, found, len(by_name) > 1) for name, found in by_name.items()]
    if not parts:
        parts = [_nothing(runs)]
    return section("quality", "Predictions and labels", *parts)


def _nothing(runs: Sequence[ShownRun]) -> Html:
    if any(run.places is not None for run in runs):
        return note("Only the owner of a label knows how predictions compare with it.")
    return note(
        "No rows were kept for validation. ", tag("code", "vflc report RUN --data …"), " measures others."
    )


def _add(
    by_name: dict[str, list[Predictions]], found: Mapping[str, CurveData], title: str, colour: int, dash: int
) -> None:
    for name, data in found.items():
        by_name.setdefault(name, []).append(Predictions(title, data, colour, dash))


def _prediction(name: str, found: Sequence[Predictions], headed: bool) -> Html:
    parts: list[object] = [tag("h3", name)] if headed else []
    binary = [each for each in found if each.data["kind"] == "binary"]
    counted = [(each, bins.counted(each.data)) for each in binary]
    both = [(each, found) for each, found in counted if found.both]
    charts = [
        _roc(both), _precision(both), _calibration(found),
        *(_spread(each) for each in binary[:4]),
    ]  # fmt: skip
    parts.append(side_by_side(charts))
    parts += [_thresholds(each, found, len(both) == 1) for each, found in both]
    parts += [_confusion(each) for each in found if each.data["confusion"]]
    parts += [_errors(found)]
    return joined(parts)


def _roc(found: Sequence[tuple[Predictions, bins.CountedRows]]) -> Html:
    lines = []
    for each, rows in found:
        points = rows.roc()
        name = f"{each.title}: area {bins.area(points):.4f}"
        lines.append(Series(name, points, colour=each.colour, dash=each.dash))
    return _chart("ROC", "false positive rate", "recall", lines, diagonal=True)


def _precision(found: Sequence[tuple[Predictions, bins.CountedRows]]) -> Html:
    lines = []
    for each, rows in found:
        name = f"{each.title}: {share(rows.positives / rows.weight)} are positive"
        lines.append(Series(name, rows.precision(), colour=each.colour, dash=each.dash, form="steps"))
    return _chart("Precision and recall", "recall", "precision", lines)


def _calibration(found: Sequence[Predictions]) -> Html:
    """Of groups of equal weight the mean prediction and the mean label, with an interval of shares."""
    lines = []
    for each in found:
        groups = bins.groups(each.data["bins"])
        points = [(group.predicted, group.observed) for group in groups]
        numeric = each.data["kind"] == "number"
        spread = [] if numeric else [group.interval for group in groups]
        lines.append(Series(each.title, points, colour=each.colour, dash=each.dash, spread=spread))
    if not found:
        return Html("")
    kind = found[0].data["kind"]
    names = {
        "binary": ("mean prediction", "share of positive rows"),
        "multiclass": ("mean probability of the likeliest class", "share that is right"),
        "number": ("mean prediction", "mean label"),
    }[kind]
    along = [value for line in lines for point in line.points if point is not None for value in point]
    ends = padded(min(along), max(along)) if kind == "number" else UNIT
    chart = Chart("Calibration", ChartAxis(names[0], ends), ChartAxis(names[1], ends), lines, diagonal=True)
    return chart.figure(note("Tenths of the rows, by prediction; bars are Wilson's 95 % intervals.")
                        if kind != "number" else "")  # fmt: skip


def _spread(each: Predictions) -> Html:
    ends, positive, negative = bins.spread(each.data)
    lines = [
        Series("positive rows", [*zip(ends, positive, strict=True), (1.0, positive[-1])], 1, 0, "steps"),
        Series("negative rows", [*zip(ends, negative, strict=True), (1.0, negative[-1])], 0, 1, "steps"),
    ]
    most = max(*positive, *negative)
    y = ChartAxis("share of the rows", (0.0, 1.05 * most))
    return Chart(f"Predictions: {each.title}", ChartAxis("prediction", UNIT), y, lines).figure()


def _chart(title: str, x: str, y: str, lines: Sequence[Series], diagonal: bool = False) -> Html:
    return Chart(title, ChartAxis(x, UNIT), ChartAxis(y, UNIT), lines, diagonal).figure()


def _thresholds(each: Predictions, rows: bins.CountedRows, open: bool) -> Html:
    """What comes of predicting positive above a threshold, or the highest predictions alone."""
    lines = [_threshold(f"above {at:.2f}", rows.over(at), rows) for at in bins.THRESHOLDS]
    tops = [_threshold(f"top {at:.0%}: above {(top := rows.top(at)).edge:.4g}", top, rows) for at in bins.TOP]
    heads = ["predicted positive", *(f"{each}|n" for each in _COLUMNS)]
    whole = table(heads, [*lines, *tops], f"Thresholds: {each.title}")
    return folded(f"Table of thresholds: {each.title}", whole, open=open)


_COLUMNS = ("share", "precision", "recall", "F1", "false positive rate", "lift")


def _threshold(name: str, above: bins.Above, rows: bins.CountedRows) -> list[str]:
    hits, flagged = above.positives, above.weight
    precision = hits / flagged if flagged else None
    f1 = 2 * hits / (flagged + rows.positives)
    lift = "–" if precision is None else f"{precision * rows.weight / rows.positives:.2f}"
    wrong = (flagged - hits) / (rows.weight - rows.positives)
    found = [share(flagged / rows.weight), share(precision), share(hits / rows.positives)]
    return [name, *found, f"{f1:.3f}", share(wrong), lift]


def _confusion(each: Predictions) -> Html:
    """Classes as they are, in rows, and as they are predicted, shaded by their share of the row."""
    names, lines = [str(name) for name in each.data["classes"]], []
    for name, row in zip(names, each.data["confusion"], strict=True):
        whole = sum(row) or 1.0
        lines.append([name, *(_shade(cell, cell / whole) for cell in row)])
    heads = ["is ↓ predicted →", *(f"{name}|n" for name in names)]
    return table(heads, lines, f"Classes: {each.title}")


def _shade(count: float, part: float) -> Html:
    return tag("span", f"{count:,.6g}", class_="shade", style=f"--s:{part:.3f}")


def _errors(found: Sequence[Predictions]) -> Html:
    """Quantiles of prediction minus label, of numbers."""
    at = (0.05, 0.25, 0.5, 0.75, 0.95)
    lines = [
        [each.title, *(measure(value) for value in bins.quantiles(each.data["errors"], at))]
        for each in found
        if each.data["errors"]
    ]
    return table(["rows", *(f"{q:.0%}|n" for q in at)], lines, "Quantiles of prediction minus label")
