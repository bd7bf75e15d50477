"""`vflc ledger`: what the rows of parties have cost so far, over all runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from vflc.cli.options import json_output


@click.command("ledger", short_help="What rows have cost so far, over all runs.")
@click.argument(
    "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default="runs/ledger"
)
@json_output
def command(folder: Path, as_json: bool) -> None:
    """Show the ledgers in FOLDER, runs/ledger where none is named.

    For each receiver and column: the most that any row has cost, of how many rows, and in how many
    times, which are runs, and of labels that are drawn once draws.
    """
    from vflc_runtime.protect.costs import costs

    found = costs(folder)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo("\n".join(_lines(folder, found)))


def _lines(folder: Path, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    from vflc.cli.columns import aligned, broken
    from vflc.cli.tables import columns

    if not any(found.values()):
        nothing = f"{folder} is empty: no run with a proven mechanism was counted"
        yield from broken(nothing, columns())
    for party, costs in found.items():
        grouped: dict[tuple[Any, ...], list[str]] = {}
        for cost in costs:
            key = (cost["to"], cost["epsilon"], cost["delta"], cost["rows"], cost["times"])
            grouped.setdefault(key, []).append(cost["name"])
        rows = [("to", "ε", "δ", "rows", "times", "columns")]
        for (receiver, epsilon, delta, count, times), names in grouped.items():
            shown = f"{epsilon:.4g}", f"{delta:.3g}", f"{count:,}", str(times)
            rows.append((receiver, *shown, ", ".join(names)))
        yield f"What {party}'s rows have cost at most"
        yield from aligned(rows, columns(), right=(1, 2, 3, 4))
