"""What a run spends of its parties' ε, charged to their ledgers before anything is sent.

A run is charged whole at its start, as if it went to its end. Who goes on with it sends what was sent
before (`replay`), which costs nothing; where it does not, one message of each row for an epoch. A pass of
evaluation or prediction costs one, too.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from vflc_common.arrays import RowKeys

from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.bundle.plan import Plan
from vflc_runtime.bundle.protections import Promised
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts, noise_of
from vflc_runtime.protect.draws import Draws, Labels
from vflc_runtime.protect.ledger import (
    Entries,
    Entry,
    Ledger,
    Limits,
    Reach,
    forgotten,
    keys_of,
    name_of,
    numbered,
)

Parties = tuple[str, ...]
Plans = Mapping[str, Plan]


def begin(
    folder: Path, manifest: Manifest, plans: Plans, data: Dataset, facts: Facts, limited: bool = True
) -> dict[str, Any] | None:
    """Charges a run of training that is about to begin, and draws the labels that are drawn once.

    Args:
        folder: of the ledgers.
        manifest: of the bundle that runs.
        plans: of the places in this process.
        data: the aligned rows.
        facts: what else the run knows.
        limited: whether grants limit it; nobody is sent anything of a simulation.

    Returns:
        What the run must keep to be known again, for `run.json`; None where nothing is to be counted.

    Raises:
        Failure: VFL0684 where it would tell more than is granted; VFL0753 where a row would be sent twice in
            an epoch; as `Ledger.change` and `noise_of`.
    """
    accounts = {party: _reaches(manifest, party) for plan in plans.values() for party in plan.tables}
    if not any(accounts.values()):
        return None
    _refuse_twice(manifest, accounts.values(), data)
    rows, labels = keys_of(data.keys), _labels(plans, data)
    kept: dict[str, Any] = {"folder": str(folder.absolute()), "run": secrets.token_hex(8), "draws": {}}
    for party, reaches in accounts.items():

        def once(before: Entries, party: str = party, reaches: Any = reaches) -> Entries:
            for guard, of in labels.get(party, {}).items():
                if guard in reaches:
                    kept["draws"][guard] = Draws(folder, party).name(of)
            found = {}
            for entry in _training(manifest, reaches, kept, rows, facts):
                told = before[entry.key].reaches if entry.key in before else ()  # by another run's guard
                found[entry.key] = replace(entry, reaches=tuple(dict.fromkeys((*told, *entry.reaches))))
            return found

        if reaches:
            limits = _limits(manifest, party, "train") if limited else {}
            Ledger(folder, party).change(once, {name_of(rows): rows}, limits)
    return kept


def _refuse_twice(
    manifest: Manifest, accounts: Iterable[Mapping[str, tuple[Reach, ...]]], data: Dataset
) -> None:
    """VFL0753 where rows are in the tables to validate with, too, and a mechanism counts messages of both.

    Within one table no key is there twice.
    """
    both = len(data.keys) - len(keys_of(data.keys))
    about = {guard: _protection(manifest, guard) for reaches in accounts for guard in reaches}
    counting = [g for g, each in about.items() if each.accounting == "draw" or "evaluate" in each.programs]
    if both and counting:
        rows = f"{both:,} rows are" if both > 1 else "a row is"
        raise Failure(
            "VFL0753",
            f"{rows} both trained on and validated with, and {counting[0]} counts on one message of a row in "
            "each epoch",
            "leave these keys out of one of the tables, or validate with a part of the rows, as "
            "`validation 0.1` in `train` says",
        )


def drawn(settings: Mapping[str, Any], plans: Plans, data: Dataset) -> dict[str, dict[str, Any]]:
    """By place and draw the labels' draws of a run that begins, one a row; VFL0686 where they are lost."""
    found: dict[str, dict[str, Any]] = {}
    if (kept := settings.get("ledger")) is None or not kept["draws"]:
        return found
    for place, guards in _labels(plans, data).items():
        for guard, labels in guards.items():
            if guard in kept["draws"]:
                made = Draws(Path(kept["folder"]), place).of(kept["draws"][guard], labels)
                draws = plans[place].guards[guard].draws
                found.setdefault(place, {}).update({d.id: made[str(i)] for i, d in enumerate(draws)})
    return found


def _labels(plans: Plans, data: Dataset) -> dict[str, dict[str, Labels]]:
    """By place and guard the labels that are answered for."""
    found: dict[str, dict[str, Labels]] = {}
    keys: RowKeys | None = None
    for place, plan in plans.items():
        for guard in plan.guards.values():
            if guard.answers and guard.reads in data.inputs:
                keys = numbered(data.keys) if keys is None else keys
                values = data.inputs[guard.reads].reshape(-1).astype(np.float64)
                found.setdefault(place, {})[guard.id] = Labels(guard, keys, values)
    return found


def go_on(settings: Mapping[str, Any], manifest: Manifest, parties: Parties, facts: Facts) -> None:
    """Counts that a run is about to send, and where it shall send more than was meant, that.

    Raises:
        Failure: VFL0686 where the ledger does not know the run; else as `begin`.
    """
    if (kept := settings.get("ledger")) is None:
        return
    for party in parties:
        reaches = _reaches(manifest, party)
        ledger = Ledger(Path(kept["folder"]), party)

        def again(before: Entries, ledger: Ledger = ledger, reaches: Any = reaches) -> Entries:
            found = {}
            for entry in _of_run(before, ledger, kept, reaches):
                found[entry.key] = _counted(entry, entry.resumed or 0, facts)
            return found

        if reaches:
            ledger.change(again, {}, _limits(manifest, party, "train"))


def _counted(entry: Entry, resumed: int, facts: Facts) -> Entry:
    messages = 1 if entry.noise is None else facts.participations + resumed
    return replace(entry, resumed=resumed, messages=max(messages, entry.messages))


def go_on_otherwise(
    settings: Mapping[str, Any], manifest: Manifest, place: str, guard: str, facts: Facts
) -> None:
    """Charges that the rows of an epoch are about to send once more by a guard, other than they did.

    Raises:
        Failure: VFL0688 where that is beyond what is granted; else as `go_on`.
    """
    kept, reaches = settings.get("ledger"), _reaches(manifest, place)
    if kept is None or guard not in reaches:
        return
    ledger = Ledger(Path(kept["folder"]), place)

    def again(before: Entries) -> Entries:
        entries = _of_run(before, ledger, kept, {guard: reaches[guard]})
        return {entry.key: _counted(entry, (entry.resumed or 0) + 1, facts) for entry in entries}

    try:
        ledger.change(again, {}, _limits(manifest, place, "train"))
    except Failure as failure:
        if failure.code != "VFL0684":
            raise
        raise Failure(
            "VFL0688",
            f"if this run continued, {place} would send different messages with the noise of "
            f"{_protection(manifest, guard).mechanism} than those it has sent: {failure.message}",
            "continue with the engine, threads, versions and processor that the run had, at all parties; "
            "or start again, in another folder and with a larger grant",
            failure.where,
        ) from None


def go_over(
    settings: Mapping[str, Any], manifest: Manifest, parties: Parties, program: str, keys: pa.Array
) -> None:
    """Charges a pass of evaluation or prediction by the model of a run.

    Raises:
        Failure: as `go_on`.
    """
    if (kept := settings.get("ledger")) is None:
        return
    for party in parties:
        reaches = _reaches(manifest, party)
        noisy = {g: told for g, told in reaches.items() if program in _protection(manifest, g).programs}
        if not noisy:
            continue
        ledger, rows = Ledger(Path(kept["folder"]), party), keys_of(keys)

        def once(
            before: Entries, ledger: Ledger = ledger, noisy: Any = noisy, rows: RowKeys = rows
        ) -> Entries:
            found = {}
            for entry in _of_run(before, ledger, kept, noisy):
                mine = replace(entry, program=program, rows=name_of(rows), count=len(rows), resumed=None)
                known = before.get(mine.key)
                found[mine.key] = replace(mine, messages=1 + (known.messages if known else 0))
            return found

        ledger.change(once, {name_of(rows): rows}, _limits(manifest, party, program))


def _training(
    manifest: Manifest,
    reaches: Mapping[str, tuple[Reach, ...]],
    kept: Mapping[str, Any],
    rows: RowKeys,
    facts: Facts,
) -> list[Entry]:
    found = []
    for guard, told in reaches.items():
        about = _protection(manifest, guard)
        run, name = _called(kept, guard)
        entry = Entry(
            run,
            manifest.model,
            name,
            about.mechanism,
            "train",
            name_of(rows),
            len(rows),
            told,
            1,
            None,
            0.0,
            0.0,
        )
        if about.accounting == "draw":
            found.append(replace(entry, epsilon=about.number("epsilon")))
        else:
            noise = noise_of(about.options, about.guards, facts, None)
            found.append(
                replace(entry, messages=facts.participations, noise=noise, delta=about.number("delta"))
            )
    return found


def _called(kept: Mapping[str, Any], guard: str) -> tuple[str, str]:
    """Run and guard of an entry; what is drawn once is of no run, and of no guard but the draws."""
    draws: str | None = kept["draws"].get(guard)
    return (kept["run"], guard) if draws is None else (draws, "draws")


def _of_run(
    before: Entries, ledger: Ledger, kept: Mapping[str, Any], reaches: Mapping[str, Any]
) -> list[Entry]:
    """The entries of a run's training; VFL0686 where one is missing."""
    mine = {(e.run, e.guard): e for e in before.values() if e.program == "train"}
    if any(_called(kept, guard) not in mine for guard in reaches):
        raise forgotten(ledger)
    return [mine[_called(kept, guard)] for guard in reaches]


def _reaches(manifest: Manifest, party: str) -> dict[str, tuple[Reach, ...]]:
    """By protection whom it tells of which of the party's columns."""
    found: dict[str, dict[Reach, None]] = {}
    for each in manifest.document.get("spends", ()):
        if each["party"] == party:
            for guard in each["protections"]:
                found.setdefault(guard, {})[each["to"], each["name"]] = None
    return {guard: tuple(told) for guard, told in found.items()}


def _protection(manifest: Manifest, guard: str) -> Promised:
    found = manifest.protections.get(guard)
    if found is None or found.accounting is None:
        raise damaged(f"manifest.json: `spends` names {guard!r}, which is no protection that is counted")
    return found


def _limits(manifest: Manifest, party: str, program: str) -> Limits:
    """The least ε that any grant of a receiver and column allows in a program."""
    found: dict[Reach, float] = {}
    for grant in manifest.document.get("grants", ()):
        if grant["party"] == party and grant["epsilon"] is not None and program in grant["programs"]:
            reach = (grant["to"], grant["column"])
            found[reach] = min(found.get(reach, grant["epsilon"]), grant["epsilon"])
    return found
