"""What protections keep in a run's folder: noise and draws from before the first step on.

    RUN/PLACE/protections.safetensors   labels as drawn, how much noise was found enough, and the
                                        secret that it is made from

Draws are made once: a label that is drawn again at a resumption can be voted on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts
from vflc_runtime.protect.guards import Guards
from vflc_runtime.protect.replay import Sent

FILE = "protections.safetensors"


def begin(
    run: Path,
    guards: Mapping[str, Guards],
    settings: Mapping[str, Any],
    facts: Facts,
    drawn: Mapping[str, Mapping[str, Any]],
    terms: Mapping[str, Mapping[str, Any]],
) -> None:
    """Prepares the guards of each place, or goes on with what the run in the folder has kept.

    `drawn` are, by place and draw, labels that the party has drawn in its ledger; `terms`, by place, all
    that bits depend on besides what is sent.

    Raises:
        Failure: as `Guards.prepare` and `Guards.restore`, VFL0621 where what was kept cannot be read.
    """
    for place, own in guards.items():
        path = run / place / FILE
        if path.exists():
            tensors, metadata = files.read_tensors(path)
            own.restore(facts, _settings(path, metadata), tensors)
            own.bind(terms[place], tensors)
        elif own:
            if not own.prepared:
                own.prepare(facts)
            own.take(drawn.get(place, {}))
            if own.bind(terms[place]) is not None and own.calibrated:
                Sent.create(_sent(run, place, settings))
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


@contextmanager
def watching(
    run: Path, guards: Mapping[str, Guards], settings: Mapping[str, Any], charge: Callable[[str, str], None]
) -> Iterator[None]:
    """Keeps account of what is sent, while it is.

    `charge` is told of a place and a guard before all rows of an epoch send once more by it.

    Raises:
        Failure: VFL0686, VFL0628: as `Sent`.
    """
    with ExitStack() as held:
        for place, own in guards.items():
            if own.calibrated and own.replay is not None:
                sent = Sent(_sent(run, place, settings))
                held.callback(sent.close)

                def again(guard: str, place: str = place, own: Guards = own) -> None:
                    charge(place, guard)
                    own.count_again(guard)
                    _write(run / place / FILE, own)

                own.replay.watch(sent, again)
        yield


def _sent(run: Path, place: str, settings: Mapping[str, Any]) -> Path:
    """The file of what a place has sent: with the ledger, so that a copy of the run knows it, too."""
    if (kept := settings.get("ledger")) is not None:
        return Path(kept["folder"]) / f"{place}-{kept['run']}.sent"
    return run / place / "noise.sent"


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
        raise Failure("VFL0621", f"{path} cannot be read", "start again in another folder")
    return found
