"""What `vflc compile --explain` prints: how the compiler has split what the spec gives no place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vflc.cli.columns import aligned, broken

if TYPE_CHECKING:
    from vflc.ir.stages import Lowered
    from vflc.passes.push_down.explain import Crossings, Explained


def explained(model: Lowered, taken: bool, width: int) -> str:
    """Paragraphs of text.

    Args:
        model: before the pass.
        taken: whether what the pass found is in the bundle; else the analysis found more in it.
        width: of a line.
    """
    from vflc.passes.push_down.explain import explain

    found, left = explain(model)
    lines = ["How the model is split, in bytes per row of a step of training"]
    if found and not taken:
        text = "as written: the compiler found a way to send less, but with it places may learn more"
        return "\n".join([*lines, "", *broken(text, width)])
    for each in found:
        lines += ["", *_one(each, width)]
    if left:
        lines += ["", *broken(f"left as written, as this sends no more: {', '.join(left)}", width)]
    if not found and not left:
        lines += ["", "as written: nothing joins values of several parties without a place"]
    return "\n".join(lines)


def _one(each: Explained, width: int) -> Iterator[str]:
    for span in each.spans[:1]:
        line, _ = span.source.position(span.start)
        yield from broken(f"{span.source.name}:{line}: {' '.join(span.source.line(line).split())}", width)
    if each.value:
        parts = f"`{each.value}` is not joined: each party computes its part of what reads it"
        yield from broken(parts, width)
    else:
        yield from broken("terms of sums are added at their owners, before they are sent", width)
    yield from _table("crosses", each.crosses, width)
    if each.refused:
        yield from broken(f"otherwise the model is refused: {each.refused}", width, "    ")
    else:
        yield from _table("instead of", each.instead, width)
        yield from broken(_saving(each.saved), width, "    ")


def _saving(saved: float) -> str:
    if saved >= 0:
        return f"saves {saved:,.0f} bytes"
    return f"sends {-saved:,.0f} bytes more, so that the end of the model stays with the labels"


def _table(title: str, crossings: Crossings, width: int) -> Iterator[str]:
    if crossings:
        yield f"  {title}"
        rows = [[f"  {name}", f"{size:,.0f}", f"to {place}"] for (name, place), size in crossings.items()]
        yield from aligned(rows, width, {1})
