"""The one call: a model and the blocks that are folded, and the picture as SVG with what is in it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from msgspec import Struct

from vflc.ir.stages import Lowered
from vflc.picture.folding import diagram
from vflc.picture.layout import LaidOut, lay_out
from vflc.picture.of_manifest import sketch_manifest
from vflc.picture.of_model import sketch_model
from vflc.picture.sketch import Sketch
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


def sketch(of: Lowered | Mapping[str, Any]) -> Sketch:
    """What a picture may show of a model at any stage, or of a manifest."""
    return sketch_model(of) if isinstance(of, Lowered) else sketch_manifest(of)


def laid_out(of: Lowered | Mapping[str, Any], folded: Set[str] | None = None) -> LaidOut:
    """The picture before it is text: boxes, lanes and arrows with positions. Arguments as of `draw`."""
    return lay_out(diagram(sketch(of), folded))


def draw(
    of: Lowered | Mapping[str, Any],
    folded: Set[str] | None = None,
    *,
    theme: Theme = "auto",
    styled: bool = True,
) -> SvgPicture:
    """Draws who computes what, what crosses and what it tells.

    Args:
        of: a model, as `vflc.driver.examine` has it, also of a spec with mistakes; or a manifest.
        folded: ids of blocks to fold; others are not. None: as `folded_by_default` has it.
        theme: `auto` follows the reader's light or dark; CSS properties `--vfl-…` override all colours.
        styled: whether the CSS is in it, or comes with the page (`vflc.picture.svg.style`).
    """
    found = laid_out(of, folded)
    told = found.diagram
    text = svg(found, theme, styled)
    return SvgPicture(text, found.width, found.height, tuple(sorted(told.folded)), tuple(sorted(told.blocks)))
