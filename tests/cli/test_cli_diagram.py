"""Pictures of a manifest."""

import shutil
import subprocess

import pytest

from vflc.emit.manifest.diagram import dot, mermaid, shape, volume


def edge(
    name: str, source: str, target: str, phase: str, sizes: list[object], **more: object
) -> dict[str, object]:
    return {
        "id": name, "from": source, "to": target, "phase": phase, "shape": sizes,
        "bytes_per_row": 128, "bytes_per_step": 0, "programs": ["train"], **more,
    }  # fmt: skip


MANIFEST = {
    "model": 'a "model"',
    "places": ["alice", "bob", "hub"],
    "parties": [
        {"name": "alice", "features": ["Age", "Sex"], "labels": [], "columns": []},
        {"name": "bob", "features": [f"C{i}" for i in range(20)], "labels": ["liked"], "columns": []},
    ],
    "edges": [
        edge("a.deep", "alice", "hub", "forward", ["batch", 32]),
        edge("a.v", "alice", "hub", "forward", ["batch", None, 16], bytes_per_row=0),
        edge("deep.gradient", "hub", "alice", "backward", ["batch", 32]),
        edge("served", "bob", "hub", "forward", ["batch", 1], programs=["predict"]),
    ],
    "messages": [
        {"from": "alice", "to": "hub", "phase": "forward", "programs": ["train"], "edges": ["a.deep", "a.v"]},
        {
            "from": "hub",
            "to": "alice",
            "phase": "backward",
            "programs": ["train"],
            "edges": ["deep.gradient"],
        },
        {"from": "bob", "to": "hub", "phase": "forward", "programs": ["predict"], "edges": ["served"]},
    ],
}


def test_mermaid() -> None:
    assert (
        mermaid(MANIFEST)
        == """flowchart LR
  subgraph alice_place["alice"]
    alice_features["features<br>Age, Sex"]
    alice_model(["model at alice"])
    alice_features --> alice_model
  end
  subgraph bob_place["bob"]
    bob_features["features<br>C0, C1, C2, C3, C4, C5 and 14 more"]
    bob_labels["labels<br>liked"]
    bob_model(["model at bob"])
    bob_features --> bob_model
    bob_labels --> bob_model
  end
  subgraph hub_place["hub"]
    hub_model(["model at hub"])
  end
  alice_model -- "a.deep [32] 128 B a row<br>a.v [? × 16] -" --> hub_model
  hub_model -. "deep.gradient [32] 128 B a row" .-> alice_model
"""
    )


def test_dot_is_quoted_and_complete() -> None:
    text = dot(MANIFEST)
    assert text.startswith('digraph "a \\"model\\"" {')
    assert '"hub_model" -> "alice_model" [label="deep.gradient [32] 128 B a row", style=dashed];' in text
    assert text.count("subgraph") == 3 and text.count("{") == text.count("}")


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")
def test_graphviz_reads_it() -> None:
    subprocess.run(["dot", "-Tsvg"], input=dot(MANIFEST), text=True, check=True, capture_output=True)


def test_shape_and_volume() -> None:
    assert shape({"shape": ["batch"]}) == "[1]"
    assert shape({"shape": [3, 4]}) == "[3 × 4] once a step"
    assert volume({"bytes_per_row": 4096, "bytes_per_step": 8}) == "4,096 B a row + 8 B a step"
