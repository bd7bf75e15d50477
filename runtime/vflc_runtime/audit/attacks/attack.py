"""What an attack is, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from vflc_common.arrays import Array, Indices

from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.knowledge import Knowledge, LabelKind

Measure = Literal["auc", "purity", "correlation", "accuracy", "pairs"]


@dataclass(frozen=True, slots=True)
class Look:
    """What an attack makes of some rows.

    Args:
        rows: numbers of the rows [n].
        values: a score for each row [n], several [n, c] of which the best one counts, or clusters [n];
            for `accuracy` a score for each class [n, k]; for `pairs` what rows are near each other by
            [n, w], or several of these [n, c, w].
        measure: how values are held against labels.
    """

    rows: Indices
    values: Array
    measure: Measure = "auc"


@dataclass(frozen=True, slots=True)
class LabelAttack:
    """An attack on a label by what crosses in a phase.

    Args:
        key: its short name.
        title: what it does, in a few words.
        paper: which publication it follows.
        knows: what is assumed besides the view; empty for nothing.
        phase: which values it looks at, `any` at all; those of phase `forward` it looks at as sent, too.
        kinds: of labels that it is for.
        rows: whether it looks at values of rows, not of batches.
        parts: whether it looks at each edge by itself, too, where there are several.
        run: gives looks, one a batch.
    """

    key: str
    title: str
    paper: str
    knows: str
    phase: Literal["forward", "backward", "any"]
    kinds: tuple[LabelKind, ...]
    run: Callable[[AdversaryView, ObservedEdges, Knowledge], Iterator[Look]]
    rows: bool = True
    parts: bool = True

    def looks_at(self, channel: ObservedEdges, told: bool = True) -> bool:
        """Whether it is for what crosses there; `told` whether that depends on the secret."""
        return (
            self.rows == channel.rows
            and (self.parts or not channel.part)
            and (self.phase == channel.phase or (self.phase == "any" and not channel.sent))
            and (told or self.phase == "forward")
        )


def spread_out(values: Array) -> Array:
    """What rows are near each other by, as [n, c, w]."""
    flat: Array = values if values.ndim == 3 else values.reshape(len(values), 1, -1)
    return flat
