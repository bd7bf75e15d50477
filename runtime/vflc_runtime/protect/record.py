"""What protections keep in a run's folder: noise and draws from before the first step on.

    RUN/PLACE/protections.safetensors   labels as drawn, and how much noise was found enough

Draws are made once: a label that is drawn again at a resumption can be voted on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts
from vflc_runtime.protect.guards import Guards

FILE = "protections.safetensors"


def begin(
    run: Path, guards: Mapping[str, Guards], facts: Facts, drawn: Mapping[str, Mapping[str, Any]]
) -> None:
    """Prepares the guards of each place, or goes on with what the run in the folder has kept.

    `drawn` are, by place and draw, labels that the party has drawn in its ledger.

    Raises:
        Failure: as `Guards.prepare` and `Guards.restore`, VFL0621 where what was kept cannot be read.
    """
    for place, own in guards.items():
        path = run / place / FILE
        if path.exists():
            tensors, metadata = files.read_tensors(path)
            own.restore(facts, _settings(path, metadata), tensors)
        elif own:
            if not own.prepared:
                own.prepare(facts)
            own.take(drawn.get(place, {}))
            _write(path, own)


def apply(run: Path, guards: Mapping[str, Guards], program: str) -> None:
    """Takes up the noise of the run in the folder, for a pass of a program after training.

    Raises:
        Failure: VFL0621 where what was kept is lost or cannot be read.
    """
    for place, own in guards.items():
        if own.at_work(program):
            path = run / place / FILE
            metadata = files.read_tensors(path)[1]
            own.settle(_settings(path, metadata))


def go_on(run: Path, guards: Mapping[str, Guards]) -> None:
    """Writes down that the run sends again: steps after the last checkpoint may have been sent before."""
    for place, own in guards.items():
        if own and own.go_on():
            _write(run / place / FILE, own)


def _write(path: Path, guards: Guards) -> None:
    new = path.with_name(f".{FILE}.new")
    with files.writing(path):
        files.write_tensors(new, guards.drawn(), {"settings": json.dumps(guards.settings())})
        new.rename(path)
        files.sync(path.parent)


def _settings(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(metadata["settings"])
    except (KeyError, ValueError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise Failure("VFL0621", f"{path} cannot be read", "start anew with another --out")
    return found
