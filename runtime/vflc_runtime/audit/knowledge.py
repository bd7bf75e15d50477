"""The little that attacks of the literature assume a curious party to know about another's columns.

A customer who is a party's own employee, a click seen in one's own log: attackers know a few rows. Each
hand-out is counted here, so that no attack sees more truth than it says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from vflc_common.arrays import Array, Indices

Spelled = Callable[[Array], Array]
LabelKind = Literal["binary", "classes", "number"]


@dataclass(frozen=True, slots=True)
class AttackedLabel:
    """A label under attack; that it exists and what kind it is stands in every manifest.

    Args:
        id: `party.column`.
        kind: 0 or 1, one of several classes, or a number.
        classes: how many; 2 for a number, which is attacked as high or low.
    """

    id: str
    kind: LabelKind
    classes: int


class Knowledge:
    """Hands out a few labels of `label`; `truth` [rows] holds them all and stays in here.

    Args:
        label: what is under attack.
        truth: of all rows.
        known: which rows [rows] are known, whatever they hold; None where attacks say what they need.
        spelled: turns the column as encoded [n, …] into what is attacked [n].
    """

    def __init__(
        self, label: AttackedLabel, truth: Array, known: Array | None = None, spelled: Spelled | None = None
    ) -> None:
        self.label, self._truth, self._known = label, truth, known
        self.spelled: Spelled = spelled or (lambda column: column.reshape(-1))

    def one_positive(self, rows: Indices) -> int | None:
        """The place in a batch of one row that has the label's rarer side; None where none is known.

        The direction-based attack of Li et al. (ICLR 2022) assumes one such row a batch.
        """
        values = self._truth[rows]
        if self.label.kind == "classes":
            return None
        positive = values > (0.5 if self.label.kind == "binary" else np.median(self._truth))
        if self._known is not None:
            positive = positive & self._known[rows]
        return int(np.argmax(positive)) if positive.any() else None

    def some(self, rows: Indices, count: int, draw: int) -> tuple[Indices, Array]:
        """`count` places in a batch, drawn by number `draw`, and their labels.

        Each class is among them in equal parts as far as there are rows of it, as the auxiliary labels
        of Fu et al. (USENIX Security 2022) are.
        """
        values, rng = self._truth[rows], np.random.default_rng(draw)
        order = rng.permutation(len(rows))
        if self._known is not None:
            chosen = np.flatnonzero(self._known[rows])
        elif self.label.kind == "number":
            chosen = order[:count]
        else:
            each = max(count // self.label.classes, 1)
            classes = np.unique(values)
            chosen = np.concatenate([order[:0], *(order[values[order] == one][:each] for one in classes)])
        return chosen, values[chosen]
