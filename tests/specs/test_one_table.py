"""What the README of specs/one_table says crosses, and its benchmark, on a few rows."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from specs.examples import EXAMPLES, prepared
from vflc_runtime.run.train import TrainOptions

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = EXAMPLES["one_table"]
README = (SPEC.parent / "README.md").read_text("utf-8")
TEXT = SPEC.read_text("utf-8")
UNITS = "units = [32, 32]"


def sent(text: str, **options: Any) -> dict[str, int]:
    """Numbers a row that alice sends forward, by edge; nothing else crosses forward."""
    edges = compile_source(SourceText("one_table.vfl", text), **options).manifest["edges"]
    forward = [edge for edge in edges if edge["phase"] == "forward"]
    assert {edge["from"] for edge in forward} == {"alice"}
    return {edge["id"]: edge["shape"][1] for edge in forward}


def test_the_model_is_the_two_lines_of_the_readme() -> None:
    lines = re.findall(r"^    ((?:use|logit).*)$", README, re.MULTILINE)
    assert len(lines) == 2 and all(f"\n{line}\n" in TEXT for line in lines)


def test_what_crosses_is_what_the_readme_says() -> None:
    listed = {name: int(size) for name, size in re.findall(r"^ +(logit\S+) +\[(\d+)\]", README, re.MULTILINE)}
    assert sent(TEXT) == listed


def test_the_table_of_the_readme() -> None:
    table = README[README.index("| | bytes |") : README.index("## Data")]
    bytes_ = [int(size) for size in re.findall(r"^\|[^|]+\| (\d+) \|", table, re.MULTILINE)]
    by_hand = EXAMPLES["deepfm"].read_text("utf-8")
    wide = TEXT.replace(UNITS, "units = [64, 32]")
    ways = [sent(by_hand), sent(TEXT), sent(TEXT, push_down=False), sent(wide)]
    assert [4 * sum(way.values()) for way in ways] == bytes_


def test_from_which_width_on_embeddings_cross_as_they_are() -> None:
    (limit,) = map(int, re.findall(r"from (\d+) units on", README))
    for width, alike in ((limit - 1, False), (limit, True)):
        text = TEXT.replace(UNITS, f"units = [{width}, 32]")
        assert text != TEXT
        assert ("logit.e.UserID" in sent(text)) is alike


def test_split_by_the_compiler_it_learns_what_it_learns_unsplit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = prepared("one_table", tmp_path / "rows", "--generate", 2000)
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
    benchmark = import_module("one_table")
    options = TrainOptions(seed=3, epochs=2, batch=64, validation=0.2, threads=1)
    said: list[str] = []
    assert benchmark.compare(sources, tmp_path, options, said.append) < benchmark.MOST
    assert [line.split()[2] for line in said] == ["split", "unsplit"]
