"""What a receiver can learn of a column at most."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

BoundKind = Literal["nothing", "rows", "counts", "code", "epsilon", "all"]
LEAST_FIRST: tuple[BoundKind, ...] = ("nothing", "rows", "counts", "epsilon", "code", "all")
"""From the least that may be learned to the most."""


_WORDS = {
    "nothing": "nothing",
    "all": "all",
    "rows": "which rows are common",
    "counts": "which rows are common, and which are one key's",
}


class Bound(Struct, frozen=True):
    """An upper bound on what is learned of one column.

    Args:
        kind: `nothing`: no message depends on the column. `code`: all messages depend on it through
            its codes alone, the ids or classes that its encoders make. `epsilon`: all that depends
            on it passed a mechanism with a proof. `all`: take it that the column is learned. `rows`: of a
            key, which rows are common, their order, and what the method of alignment tells besides; `counts`:
            how many rows each common key has, too, so which of them are one user's.
        bits: of `code`, the most bits a row; None where a row may have any number of ids.
        epsilon, delta: of `epsilon`, added up over the mechanisms; `epsilon` is None where only the
            run knows it.
    """

    kind: BoundKind
    bits: float | None = None
    epsilon: float | None = None
    delta: float = 0.0

    def __str__(self) -> str:
        """In words, as what is learned at most."""
        if self.kind == "code":
            return f"its code{self._bits}"
        if self.kind == "epsilon":
            epsilon = "the ε that the run reports" if self.epsilon is None else f"ε = {self.epsilon:g}"
            return epsilon + (f", δ = {self.delta:g}" if self.delta else "")
        return _WORDS[self.kind]

    def of(self, column: str) -> str:
        """What is learned of a column at most, as the end of a sentence."""
        if self.kind == "code":
            return f"the code of {column}{self._bits}"
        if self.kind == "epsilon":
            return f"{column} within {self}"
        return str(self) if self.kind in ("rows", "counts") else f"{self} of {column}"

    @property
    def _bits(self) -> str:
        return "" if self.bits is None else f" ({self.bits:.4g} bit{'s' * (self.bits != 1)} a row)"
