"""Every block of the standard library: it compiles, it learns, and split training is unsplit training."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from library.library_specs import BOTTOMS, LOGITS, TASKS, rows, spec
from vflc_runtime.run import fitting
from vflc_runtime.run.session import Session

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.driver import compile_source
from vflc.library import library_text
from vflc.syntax import tree
from vflc.syntax.parser import parse

STEPS = 60
HELPERS = {
    "Pairs", "CrossNet", "CrossLayers", "Tower", "Mixture", "Extraction", "Interest", "Transformer",
    "Interacting", "DIENBottom", "Evolution", "CausalAttention", "Last",
    "CIN", "SENET", "Bilinear", "Both", "MonotoneLayers", "Positive", "Points",
}  # fmt: skip
"""Blocks that others are made of, and that are trained with them."""


def library() -> list[tree.Block]:
    texts = [(files("vflc.library") / f"{name}.vfl").read_text("utf-8") for name in ("recsys", "credit")]
    return [block for text in texts for block in read(text).values()]


def test_every_block_says_what_it_is_and_is_trained_here():
    names = {block.name.text for block in library()}
    tested = {name.split()[0] for name in (*LOGITS, *TASKS)} | {*BOTTOMS.values()}
    assert names - HELPERS == tested
    assert names >= HELPERS
    for block in library():
        assert block.doc and block.doc.endswith("."), block.name.text
        assert "\n" not in block.doc


def read(text: str) -> dict[str, tree.Block]:
    items = parse(SourceText("recsys.vfl", text), DiagnosticCollector()).items
    return {item.name.text: item for item in items if isinstance(item, tree.Block)}


@pytest.mark.parametrize("name", ["recsys", "credit"])
def test_of_a_library_the_blocks_are_read_that_a_spec_needs(name: str):
    whole = library_text(name, [])
    assert whole is not None and whole == library_text(name, ["NoSuchBlock"])
    for called, block in read(whole).items():
        part = library_text(name, [called])
        found = read(part)
        assert found[called].span.text == block.span.text
        assert part.count("\n") == whole.count("\n")
        assert whole[: block.span.start].count("\n") == part[: found[called].span.start].count("\n")


def test_what_a_block_uses_is_read_with_it():
    assert read(library_text("recsys", ["TwoTower", "FM"])).keys() == {
        "TwoTower", "Tower", "FM", "Pairs", "LinearRegression",
    }  # fmt: skip
    assert library_text("nosuch", []) is None


def session(name: str, folder: Path, precision: str, unsplit: bool, *programs: str) -> Session:
    bundle = compile_source(SourceText("library.vfl", spec(name)), precision=precision, unsplit=unsplit)
    bundle.write(folder)
    return Session(folder, seed=3, threads=1, programs=programs)


def fit(session: Session, batch: dict[str, np.ndarray]) -> None:
    """Fits tables, as a run does before its first step."""
    if session.fits_tables:
        fitting.fit(session, [(batch, len(batch["bob.y"]))], {})


@pytest.mark.parametrize("name", [*LOGITS, *TASKS])
def test_learns(name: str, tmp_path: Path):
    trained = session(name, tmp_path / "split", "float32", False, "train", "evaluate")
    first = trained.evaluate(rows(500, 99, np.float32)).loss
    fit(trained, rows(500, 98, np.float32))
    for seed in range(STEPS):
        trained.step(rows(64, seed, np.float32))
    last = trained.evaluate(rows(500, 99, np.float32)).loss
    assert last < 0.93 * first


@pytest.mark.parametrize("name", [*LOGITS, *TASKS])
def test_split_is_unsplit(name: str, tmp_path: Path):
    split = session(name, tmp_path / "split", "float64", False, "train")
    whole = session(name, tmp_path / "whole", "float64", True, "train")
    for each in (split, whole):
        fit(each, rows(100, 98, np.float64))
    for seed in range(4):
        batch = rows(17, seed, np.float64)
        assert abs(split.step(batch).loss - whole.step(batch).loss) < 1e-9
    ours, theirs = split.weights(), whole.weights()
    assert ours.keys() == theirs.keys()
    assert max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) < 1e-9
