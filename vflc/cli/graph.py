"""`vflc graph`: a picture of who computes what, what crosses and what it tells."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vflc.cli.options import SPEC, overrides
from vflc.cli.outputs import check_output, force

if TYPE_CHECKING:
    from vflc.diagnostics import SourceText
    from vflc.picture.sketch import Sketch

SUFFIXES = {".svg": "svg", ".html": "html", ".htm": "html", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid"}
"""The form of a picture by the name of its file."""


@click.command("graph")
@click.argument("spec", metavar="SPEC|BUNDLE", type=SPEC)
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "svg", "html"]),
    help="Default: by the name of FILE, otherwise mermaid.",
)
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file: .svg, .html, .mmd or .dot; default: stdout.",
)
@click.option(
    "--boxes",
    type=click.IntRange(0),
    default=24,
    show_default=True,
    help="Unfold blocks, the outermost first, as long as no more boxes result.",
)
@click.option(
    "--fold", metavar="BLOCK", multiple=True, help="Fold a block, as `logit.deep`. May be repeated."
)
@click.option("--unfold", metavar="BLOCK", multiple=True, help="Unfold a block. May be repeated.")
@overrides
@force
def command(
    spec: Path,
    form: str | None,
    out: Path | None,
    boxes: int,
    fold: tuple[str, ...],
    unfold: tuple[str, ...],
    overrides: dict[str, str],
    force: bool,
) -> None:
    """Draw who computes what.

    A lane for each place, and at the borders all that crosses, with its bytes and what it tells. Blocks of
    which there is much are folded. A page (.html) can be unfolded, zoomed and walked through. Of a bundle,
    without its spec, the picture has a box for what each place computes.
    """
    if form is None:
        form = _form(out)
    check_output(out, force, [str(spec)])
    drawn, source = _bundle(spec, overrides) if spec.is_dir() else _spec(spec, overrides)
    text = _text(drawn, source, form, boxes, fold, unfold)
    if out is None:
        click.echo(text, nl=False)
    else:
        from vflc_runtime.files import replace_with

        replace_with(out, text.encode(), private=False)
        click.echo(f"wrote {out}")


def _form(out: Path | None) -> str:
    """The form that the name of a file asks for."""
    suffix = "" if out is None else out.suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise click.UsageError(
            f"`{suffix}` is none of {', '.join(SUFFIXES)}: name another file, or say --format"
        )
    return SUFFIXES.get(suffix, "mermaid")


def _spec(path: Path, overrides: dict[str, str]) -> tuple[Sketch, SourceText]:
    from vflc import driver
    from vflc.diagnostics import Refused
    from vflc.picture.of_model import sketch_model

    examined = driver.examine_file(path, overrides)
    if examined.refused or examined.model is None:
        raise Refused(examined.diagnostics)
    return sketch_model(examined.model), examined.source


def _bundle(folder: Path, overrides: dict[str, str]) -> tuple[Sketch, None]:
    """Of a manifest that has its own digest. What its maker wrote into it is text, whatever it is."""
    from vflc_runtime.bundle.manifest import read_manifest
    from vflc_runtime.bundle.reading import damaged

    from vflc.picture.of_manifest import sketch_manifest

    if overrides:
        raise click.UsageError("--set is for a spec; a bundle is as it was compiled")
    file = folder / "manifest.json"
    read_manifest(file)
    try:
        return sketch_manifest(json.loads(file.read_bytes())), None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(f"{file} does not say what crosses as this version of vflc does") from error


def _text(
    drawn: Sketch,
    source: SourceText | None,
    form: str,
    boxes: int,
    fold: Collection[str],
    unfold: Collection[str],
) -> str:
    from vflc.picture.files import FORMATS
    from vflc.picture.folding import folded_by_default
    from vflc.picture.html import html

    blocks = {block for value in drawn.values for block in value.blocks}
    for name in (*fold, *unfold):
        if name not in blocks:
            raise click.UsageError(_no_block(name, blocks))
    open_ones = {*unfold, *(part for name in unfold for part in _outer(name))}
    folded = (folded_by_default(drawn, boxes) - open_ones) | {*fold}
    return html(drawn, source, folded) if form == "html" else FORMATS[form](drawn, folded)


def _outer(block: str) -> list[str]:
    """The blocks that a block may lie in, which unfold with it."""
    parts = block.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _no_block(name: str, blocks: Collection[str]) -> str:
    from vflc.diagnostics.suggest import did_you_mean

    near = did_you_mean(name, blocks)
    return f"there is no block `{name}`" + (f"; did you mean `{near}`?" if near else "")
