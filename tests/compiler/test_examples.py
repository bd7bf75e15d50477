"""Every example spec: what the compiler makes of it, in snapshots, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from snapshot import same_as

from vflc.diagnostics import DiagnosticCollector
from vflc.driver import compile_spec
from vflc.emit.bundle import Bundle
from vflc.ir.show import show_graph, show_ops, show_schedule
from vflc.ir.stages import Scheduled
from vflc.syntax.parser import parse, read_source
from vflc.syntax.show import show

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs").rglob("*.vfl"))
SNAPSHOTS = Path(__file__).parent / "snapshots"

WHOLE = ("regression", "fedrecon_full")

each_spec = pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)


@cache
def compiled(path: Path) -> Bundle:
    return compile_spec(path)


@each_spec
def test_tree(path: Path) -> None:
    collector = DiagnosticCollector()
    spec = parse(read_source(path), collector)
    assert not collector.diagnostics
    same_as(SNAPSHOTS / path.stem / "tree.txt", show(spec))


@each_spec
def test_graph(path: Path) -> None:
    """Two graphs node by node, which can be read; of the others, how many of which op are where."""
    show = show_graph if path.stem in WHOLE else show_ops
    same_as(SNAPSHOTS / path.stem / "graph.txt", show(compiled(path).model.graph))


@each_spec
def test_plan(path: Path) -> None:
    model = compiled(path).model
    if isinstance(model, Scheduled):
        same_as(SNAPSHOTS / path.stem / "plan.txt", show_schedule(model, stages=path.stem in WHOLE))


@each_spec
def test_manifest(path: Path) -> None:
    """The page that a person signs, but for its digest, which every version of vflc changes."""
    bundle = compiled(path)
    text = bundle.files["manifest.md"].decode().replace(bundle.manifest["digest"], "DIGEST")
    same_as(SNAPSHOTS / path.stem / "manifest.md", text)


@each_spec
def test_every_message_between_places_is_declared(path: Path) -> None:
    """What a plan sends is what the manifest says, edge by edge."""
    bundle = compiled(path)
    declared = {m["id"]: m for m in bundle.manifest["messages"]}
    edges = {e["id"] for e in bundle.manifest["edges"]}
    sent: dict[str, set[str]] = {}
    for place in bundle.manifest["places"]:
        plan = json.loads(bundle.files[f"{place}/plan.json"])
        for program, steps in plan["programs"].items():
            for step in steps:
                if step["do"] in ("send", "receive"):
                    message = declared[step["message"]]
                    assert message["from" if step["do"] == "send" else "to"] == place
                    sent.setdefault(step["message"], set()).add(program)
    assert {name: set(m["programs"]) for name, m in declared.items()} == sent
    assert {edge for m in declared.values() for edge in m["edges"]} == edges


HASH = """
import hashlib, sys
from pathlib import Path
from vflc.driver import compile_spec
files = compile_spec(Path(sys.argv[1])).files
print(hashlib.sha256(b"".join(n.encode() + files[n] for n in sorted(files))).hexdigest())
"""


def test_two_compilations_give_the_same_bytes() -> None:
    """In processes with other hash seeds, so that no order of a set gets into the bundle."""
    path = ROOT / "specs" / "deepfm" / "deepfm.vfl"
    digests = {
        subprocess.run(
            [sys.executable, "-c", HASH, path],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    files = compiled(path).files
    own = hashlib.sha256(b"".join(n.encode() + files[n] for n in sorted(files))).hexdigest()
    assert digests == {own + "\n"}
