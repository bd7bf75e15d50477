"""Which party has which column: from the options of the command to the columns of the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from vflc.diagnostics import Diagnostic, Refused
from vflc.diagnostics.suggest import did_you_mean
from vflc.translation.graph import InputColumn
from vflc.translation.names import families

Owned = Mapping[str, Sequence[str]]
"""Columns by party, in the order of the options; `x{1..3}` stands for `x1`, `x2`, `x3`."""


def assigned(columns: Sequence[InputColumn], owners: Owned) -> dict[str, str]:
    """The party of every column of the model.

    Args:
        columns: the model's inputs.
        owners: of columns, or of whole inputs by their name.

    Raises:
        Refused: VFL0702, a name that is no input, a column with two owners or none; each of them.
    """
    members = {name: column for column in columns for name in column.members}
    whole = {column.name: column.members for column in columns}
    for each in columns:
        if each.part_of:
            whole[each.part_of] = (*whole.get(each.part_of, ()), *each.members)
    found: dict[str, str] = {}
    wrong: list[Diagnostic] = []
    for party, names in owners.items():
        for name in (each for given in names for each in _expanded(given)):
            if name not in whole and name not in members:
                near = did_you_mean(name, [*whole, *members])
                help = f"did you mean `{near}`?" if near else f"its inputs are {_listed(list(whole))}"
                wrong.append(_wrong(f"the model has no input `{name}`, which {party} is to own", help))
                continue
            for column in whole.get(name, (name,)):
                if found.setdefault(column, party) != party:
                    message = f"`{column}` has two owners, {found[column]} and {party}"
                    wrong.append(_wrong(message, "name it for one of them"))
    without = [name for name in members if name not in found]
    if without:
        message = f"no party owns {_listed(without)}"
        wrong.append(_wrong(message, f"add --owner PARTY={','.join(_short(without))}"))
    if wrong:
        raise Refused(wrong)
    return found


def _wrong(message: str, help: str) -> Diagnostic:
    return Diagnostic("VFL0702", message, None, help)


def _listed(names: Sequence[str]) -> str:
    short = _short(names)
    return ", ".join(f"`{name}`" for name in short[:8]) + (
        f" and {len(short) - 8} more" if len(short) > 8 else ""
    )


def _expanded(name: str) -> list[str]:
    family = re.fullmatch(r"(.*)\{(\d{1,6})\.\.(\d{1,6})\}", name)
    if family is None:
        return [name]
    return [f"{family[1]}{number}" for number in range(int(family[2]), int(family[3]) + 1)]


def _short(names: Sequence[str]) -> list[str]:
    """Names that follow each other by number as families."""
    return [text for text, _ in families(names)]


def twice(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
