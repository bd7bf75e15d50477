"""The list of what crosses: at any width no word is cut, no edge and no finding left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from snapshot import same_as

import vflc
from vflc import driver
from vflc.cli.crossings import crossing, waived

SPECS = Path(vflc.__file__).parent.parent / "specs"
SNAPSHOTS = Path(__file__).parent / "snapshots"


def edge(name: str, **other: Any) -> dict[str, Any]:
    return {
        "id": name, "from": "alice", "to": "bob", "phase": "forward", "shape": ["batch", 4],
        "dtype": "float32", "bytes_per_row": 16, "bytes_per_step": 0,
        "programs": ["train", "evaluate", "predict"], "depends_on": ["alice.Age"], "findings": [],
        "accepted": [], **other,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["deepfm", "three_parties", "fedrecon"])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_crossings_of_examples(name: str, width: int) -> None:
    manifest = driver.compile_spec(SPECS / name / f"{name}.vfl").manifest
    text = crossing(manifest, width)
    words = set(text.replace(",", " ").split())
    assert max(map(len, text.splitlines())) <= width
    for each in manifest["edges"]:
        assert each["id"] in words
        assert {*each["findings"], *(w["code"] for w in each["accepted"])} <= words
        assert {column.partition(".")[2] for column in each["depends_on"]} <= words
    if width == 80:
        same_as(SNAPSHOTS / f"crossings_{name}.txt", "\n".join([text, "", *waived(manifest, width)]))


def test_long_names_and_many_findings() -> None:
    findings = ["VFL0320", "VFL0321", "VFL0322", "VFL0323"]
    names = ["a_value_with_a_name_of_more_than_forty_letters.inside.a_block", "short"]
    edges = [edge(names[0], findings=findings), edge(names[1], findings=findings[:1], shape=["batch", 1])]
    for width in (40, 60, 80):
        text = crossing({"edges": edges}, width)
        lines = text.splitlines()
        assert all(len(line) <= max(width, len(names[0]) + 2) for line in lines)
        assert all(word in text.replace(",", " ").split() for word in (*names, *findings))
    same_as(SNAPSHOTS / "crossings_long.txt", crossing({"edges": edges}, 60))


def test_edges_that_are_alike_are_folded() -> None:
    edges = [edge(f"h.embed_{n}", depends_on=[f"alice.C{n}"]) for n in range(1, 5001)]
    edges += [edge("other", shape=["batch", 1])]
    edges += [edge("g", **{"from": "bob", "to": "alice", "phase": "backward", "programs": ["train"]})]
    text = crossing({"edges": edges}, 80)
    assert "h.embed_1 … h.embed_5000, 5,000 edges  [4]  16 B each" in text
    assert "alice → bob, forward: 80,016 bytes a row" in text
    assert "C11 and 4,989" in text and len(text.splitlines()) == 12


def test_columns_that_are_many_are_counted() -> None:
    columns = [f"alice.C{number}" for number in range(1, 101)]
    assert "C11 and 89 more" in crossing({"edges": [edge("h", depends_on=columns)]}, 80)


def test_nothing() -> None:
    assert crossing({"edges": []}, 80) == "Nothing crosses"
