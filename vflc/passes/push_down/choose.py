"""Which of the values put together from several parties stay as they are written: for the fewest bytes."""

from __future__ import annotations

from msgspec import Struct

from vflc.ir.model import names_of
from vflc.ir.stages import Lowered
from vflc.passes.place import FORBIDDEN
from vflc.passes.push_down.cost import cost
from vflc.passes.push_down.meeting import joins
from vflc.passes.push_down.rewrite import rewritten


class Choice(Struct, frozen=True):
    """A way to write a model.

    Args:
        joined: values put together from several parties whose readers may work on their pieces.
        left: those of them that are put together as written, as that is cheaper.
        price: bytes a row that cross.
    """

    model: Lowered
    joined: tuple[str, ...]
    left: frozenset[str]
    price: float


def choose(model: Lowered) -> Choice:
    """The cheapest way that is found by leaving one joined value after another as it is written."""
    joined = tuple(node.id for node in model.graph if joins(node))
    written = Choice(model, joined, frozenset(joined), FORBIDDEN)
    best = attempt(model, joined, frozenset())
    for name in joined:
        other = attempt(model, joined, best.left | {name})
        best = other if other.price <= best.price else best
    return best if best.price < cost(model) else written


def attempt(model: Lowered, joined: tuple[str, ...], left: frozenset[str]) -> Choice:
    """The model with all rewrites, but of the values in `left`.

    It has no price where a weight got lost that nothing but a value that is cut off depends on.
    """
    made = rewritten(model, left)
    return Choice(made, joined, left, cost(made) if _weights(made) == _weights(model) else FORBIDDEN)


def _weights(model: Lowered) -> set[str]:
    return {name for node in model.graph if node.op == "weight" for name in names_of(node)}
