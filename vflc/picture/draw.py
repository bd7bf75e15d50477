"""The one call: a model and the blocks that are folded, and the picture as SVG with what is in it."""

from __future__ import annotations

from collections.abc import Set

from msgspec import Struct

from vflc.ir.stages import Lowered
from vflc.picture.folding import diagram
from vflc.picture.layout import LaidOut, lay_out
from vflc.picture.of_model import sketch_model
from vflc.picture.svg import Theme, svg


class SvgPicture(Struct, frozen=True):
    """A picture.

    Args:
        svg: the text of an SVG element; see `vflc.picture.svg.svg` for the `data-` attributes in it.
        width, height: in pixels.
        folded: ids of blocks that are folded, in order; give them back, with one more or one less.
        blocks: ids of all blocks that can be.
    """

    svg: str
    width: float
    height: float
    folded: tuple[str, ...]
    blocks: tuple[str, ...]


def laid_out(model: Lowered, folded: Set[str] | None = None) -> LaidOut:
    """The picture before it is text: boxes, lanes and arrows with positions. Arguments as of `draw`."""
    return lay_out(diagram(sketch_model(model), folded))


def draw(
    model: Lowered,
    folded: Set[str] | None = None,
    *,
    theme: Theme = "auto",
    styled: bool = True,
) -> SvgPicture:
    """Draws who computes what, what crosses and what it tells.

    Args:
        model: as `vflc.driver.examine` has it, also of a spec with mistakes.
        folded: ids of blocks to fold; others are not. None: as `folded_by_default` has it.
        theme: `auto` follows the reader's light or dark; CSS properties `--vfl-…` override all colours.
        styled: whether the CSS is in it, or comes with the page (`vflc.picture.svg.style`).
    """
    found = laid_out(model, folded)
    told = found.diagram
    text = svg(found, theme, styled)
    return SvgPicture(text, found.width, found.height, tuple(sorted(told.folded)), tuple(sorted(told.blocks)))
