"""`vflc compare`: what several runs reached, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from vflc.cli.options import RUN, json_output
from vflc.report.results import OTHER_ROWS, SAME_ROWS, SETTINGS

ROWS = ("test", "validation", "train")
"""Of which rows results are compared: the first that all runs have."""


@click.command("compare")
@click.argument("runs", type=RUN, nargs=-1, required=True, metavar="RUN…")
@click.option("--by", metavar="METRIC", help="Sort by this metric, the best run first.")
@json_output
def command(runs: tuple[Path, ...], by: str | None, as_json: bool) -> None:
    """Show the results of several runs side by side.

    Results are those of the saved models, on test, validation or training rows: the first of these that all
    runs have. Of the settings those are shown that differ.
    """
    from vflc_runtime.run.opened import open_run

    opened = [open_run(path) for path in runs]
    found = compared({str(each.path): (each.folder.settings, each.metrics()) for each in opened})
    if by is not None:
        known = list(found["best"])
        if by not in known:
            raise click.UsageError(f"no run has a metric {by!r}; metrics: {', '.join(known)}")
        found["runs"].sort(key=lambda run: _place(by, run["scores"].get(by)))
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else _shown(found))


def compared(runs: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    """What runs have reached, what differs between them, and which is best by what.

    Args:
        runs: by name, the settings and the metrics of each.
    """
    rows = next((kind for kind in ROWS if all(metrics.get(kind) for _, metrics in runs.values())), ROWS[-1])
    differing = [name for name in SETTINGS if len({str(s.get(name)) for s, _ in runs.values()}) > 1]
    found = [
        {
            "run": name,
            "model": settings["model"],
            "digest": settings["digest"],
            "settings": {each: settings.get(each) for each in differing},
            "saved": metrics.get("saved"),
            "scores": metrics.get(rows) or {},
        }
        for name, (settings, metrics) in runs.items()
    ]
    names = dict.fromkeys(name for run in found for name in run["scores"])
    return {
        "rows": rows,
        "same_rows": len({tuple(str(s.get(each)) for each in SAME_ROWS) for s, _ in runs.values()}) == 1,
        "best": {name: best for name in names if (best := _best(name, found)) is not None},
        "runs": found,
    }


def _best(metric: str, runs: Sequence[Mapping[str, Any]]) -> str | None:
    """The best run by a metric; None where no run has it, or it is not known which way is better."""
    from vflc_common.metrics import smaller_is_better

    defined = [run for run in runs if run["scores"].get(metric) is not None]
    if not defined or smaller_is_better(metric) is None:
        return None
    found: str = min(defined, key=lambda run: _place(metric, run["scores"][metric]))["run"]
    return found


def _place(metric: str, value: float | None) -> float:
    """What puts the better value first; one that is not defined comes last."""
    from vflc_common.metrics import smaller_is_better

    return float("inf") if value is None else value if smaller_is_better(metric) else -value


def _shown(found: Mapping[str, Any]) -> str:
    from vflc.cli.columns import broken
    from vflc.cli.tables import columns

    lines = [f"Results on {found['rows']} rows", *_table(found["runs"], columns())]
    if len(found["runs"]) > 1:
        by_run: dict[str, list[str]] = {}
        for metric, run in found["best"].items():
            by_run.setdefault(run, []).append(metric)
        for run, metrics in by_run.items():
            lines += broken(f"best {', '.join(metrics)}: {run}", columns())
    if not found["same_rows"]:
        lines += broken(OTHER_ROWS, columns())
    return "\n".join(lines)


def _table(runs: Sequence[Mapping[str, Any]], width: int) -> Iterator[str]:
    """A line a run; what does not fit beside one another goes on in tables below."""
    from vflc.cli.columns import aligned
    from vflc.cli.tables import number

    digests = len({run["digest"] for run in runs}) > 1
    heads = [*(["digest"] if digests else []), *runs[0]["settings"]]
    heads += [n for n in dict.fromkeys(name for run in runs for name in run["scores"]) if n not in heads]
    cells = [
        {"digest": run["digest"][:8], **{n: str(v) for n, v in run["settings"].items()}}
        | {name: number(value) for name, value in run["scores"].items()}
        for run in runs
    ]
    sizes = {head: max(len(head), *(len(row.get(head, "-")) for row in cells)) + 2 for head in heads}
    first = min(max(len(run["run"]) for run in runs) + 4, width // 2)
    while heads:
        taken, room = [heads.pop(0)], width - first
        room -= sizes[taken[0]]
        while heads and sizes[heads[0]] <= room:
            room -= sizes[heads[0]]
            taken.append(heads.pop(0))
        body = [
            (run["run"], *(row.get(each, "-") for each in taken), "")
            for run, row in zip(runs, cells, strict=True)
        ]
        yield ""
        yield from aligned([("run", *taken, ""), *body], width, range(1, len(taken) + 1))
    yield ""
