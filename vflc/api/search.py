"""`--search NAME=…`: which values of a setting are tried."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from vflc_runtime.errors import Failure

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

CODE = "VFL0749"
FORMS = "write lr=log(1e-4, 1e-2), drop=uniform(0, 0.5), layers=int(1, 4), or values: k=8,16"
_RANGE = re.compile(r"(log|uniform|int)\s*\(([^(),]+),([^(),]+)\)\Z")

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\Z")


class Search(Struct, frozen=True):
    """One setting: numbers between `low` and `high` in some way, or one of `choices` as the spec has them."""

    name: str
    way: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, text: str) -> Search:
        """What a text says; VFL0749 where it says nothing that can be tried."""
        text = text.strip()
        ranged = _RANGE.match(text)
        if ranged is None:
            distinct: dict[float | str, str] = {}
            for part in _parts(text):
                distinct.setdefault(_meant(part), part)
            choices = tuple(distinct.values())
            if len(choices) < 2 or "" in choices:
                raise Failure(CODE, f"`{name}={text}` leaves nothing to choose between", FORMS)
            return cls(name, "choice", choices=choices)
        way = ranged[1]
        try:
            low, high = (float(each) for each in ranged.groups()[1:])
        except ValueError:
            raise Failure(CODE, f"`{name}={text}` has a bound that is no number", FORMS) from None
        whole = low.is_integer() and high.is_integer() if way == "int" else True
        if not (math.isfinite(low) and math.isfinite(high) and low < high and whole) or (
            way == "log" and low <= 0
        ):
            above = (
                ", and above 0" if way == "log" else ", and both are whole numbers" if way == "int" else ""
            )
            raise Failure(
                CODE, f"`{name}={text}` is no range", f"the first bound is the lower one{above}; {FORMS}"
            )
        return cls(name, way, low, high)

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.way == "int":
            return IntDistribution(int(self.low), int(self.high))
        return FloatDistribution(self.low, self.high, log=self.way == "log")

    @property
    def count(self) -> float:
        """How many values there are, infinity where they are not counted."""
        if self.choices:
            return len(self.choices)
        return self.high - self.low + 1 if self.way == "int" else math.inf

    def written(self, value: Any) -> str:
        """A value that was drawn, as the spec writes it."""
        return str(value) if self.choices or self.way == "int" else f"{value:.6g}"

    def holds(self, text: str) -> bool:
        """Whether it could have written so."""
        if self.choices:
            return text in self.choices
        try:
            value = int(text) if self.way == "int" else float(text)
        except ValueError:
            return False
        slack = 0 if self.way == "int" else 1e-5 * max(abs(self.low), abs(self.high))  # of six digits
        return self.low - slack <= value <= self.high + slack

    def read(self, text: str) -> Any:
        """The value that was written so."""
        if self.choices:
            return text
        return int(text) if self.way == "int" else min(max(float(text), self.low), self.high)


def _meant(choice: str) -> float | str:
    """What is equal for choices that are written otherwise and mean the same: `0.1, 0.10`."""
    if _NUMBER.match(choice):
        return float(choice)
    return choice if '"' in choice else "".join(choice.split())


def _parts(text: str) -> list[str]:
    """A text parted at its commas, but for those in brackets: `adam(lr = 0.1), sgd(0.1, momentum = 0.9)`."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
