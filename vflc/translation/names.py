"""Names and literals of the language."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

RESERVED = (
    "party", "population", "feature", "label", "weight", "column", "key", "block", "fuse", "predict",
    "objective", "train",
    "release", "protect", "accept", "use", "schedule", "at", "return", "for", "if", "in",
    "true",
    "false", "and", "or", "not", "global", "local",
)  # fmt: skip
"""Words that no name may be."""


def literal(value: Any) -> str:
    """A number or a text as a spec writes it."""
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace('"', '\\"')
        for character, escape in (("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r"), ("\0", "\\0")):
            text = text.replace(character, escape)
        return f'"{text}"'
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return repr(value)


def identifier(name: str) -> str:
    """The name as one of the language: letters, digits and `_`, not starting with a digit."""
    found = re.sub(r"\W+", "_", name).strip("_") or "x"
    return found if not found[0].isdigit() else f"x{found}"


class Names:
    """Names of a spec, each given once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def free(self, name: str) -> bool:
        return identifier(name) not in self._taken

    def fresh(self, name: str) -> str:
        """The name, or with the first number from 2 that makes it a new one."""
        name = identifier(name)
        found, number = name, 2
        while found in self._taken:
            found, number = f"{name}_{number}", number + 1
        self._taken.add(found)
        return found


def families(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Runs of names that differ in a number that counts up: `x{1..3}`; others by themselves."""
    found: list[tuple[str, list[str]]] = []
    run: list[str] = []

    def close() -> None:
        if len(run) > 1:
            prefix = re.sub(r"\d+$", "", run[0])
            found.append((f"{prefix}{{{_number(run[0])}..{_number(run[-1])}}}", list(run)))
        elif run:
            found.append((run[0], list(run)))
        run.clear()

    for name in names:
        if run and not _follows(run[-1], name):
            close()
        run.append(name)
    close()
    return found


def _number(name: str) -> int:
    return int(re.search(r"(\d+)$", name)[1])  # type: ignore[index]


def _follows(before: str, name: str) -> bool:
    match = [re.fullmatch(r"(.*?)(0|[1-9]\d*)", each) for each in (before, name)]
    if match[0] is None or match[1] is None:
        return False
    return match[0][1] == match[1][1] and int(match[0][2]) + 1 == int(match[1][2])
