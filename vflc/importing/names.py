"""Names and literals of the language."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


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

    def fresh(self, name: str) -> str:
        """The name, or with the first number from 2 that makes it a new one."""
        name = identifier(name)
        found, number = name, 2
        while found in self._taken:
            found, number = f"{name}_{number}", number + 1
        self._taken.add(found)
        return found
