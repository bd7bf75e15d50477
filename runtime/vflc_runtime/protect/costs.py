"""What ledgers say that rows have cost so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vflc_runtime.protect.ledger import Ledger, Reach, Spent, forgotten


def of_runs(runs: Iterable[Mapping[str, Any]], party: str, reach: Reach) -> Spent:
    """What rows have cost at most by some runs together, with their passes; ledgers add up.

    Args:
        runs: settings of each.
        party: whose rows they are.
        reach: what is told to whom.

    Raises:
        Failure: VFL0685, VFL0686: as the ledgers have it.
    """
    names: dict[Path, set[str]] = {}
    for settings in runs:
        if (kept := settings.get("ledger")) is not None:
            names.setdefault(Path(kept["folder"]), set()).update((kept["run"], *kept["draws"].values()))
    epsilon = delta = 0.0
    for folder, mine in names.items():
        ledger = Ledger(folder, party)
        told = {k: e for k, e in ledger.entries().items() if e.run in mine and reach in e.reaches}
        if not told:
            raise forgotten(ledger)
        spent = ledger.spent(told, reach, ledger.rows([entry.rows for entry in told.values()]), {})
        epsilon, delta = epsilon + spent.epsilon, delta + spent.delta
    return Spent(epsilon, delta)


def costs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the ledgers in a folder say, by party.

    Returns:
        For each receiver, `to`, and feature, label or column, `name`: `epsilon` and `delta`, the most
        that any row has cost, of how many `rows`, in how many `times`: runs, and of labels draws.

    Raises:
        Failure: VFL0685, a ledger cannot be read.
    """
    return {path.stem: _costs(Ledger(folder, path.stem)) for path in sorted(folder.glob("*.json"))}


def _costs(ledger: Ledger) -> list[dict[str, Any]]:
    entries = ledger.entries()
    found = []
    for reach in dict.fromkeys(reach for entry in entries.values() for reach in entry.reaches):
        told = [entry for entry in entries.values() if reach in entry.reaches]
        rows = ledger.rows([entry.rows for entry in told])
        spent = ledger.spent(entries, reach, rows, {})
        times = len({entry.run for entry in told})
        about = {"to": reach[0], "name": reach[1], "rows": len(rows), "times": times}
        found.append({**about, "epsilon": spent.epsilon, "delta": spent.delta})
    return found
