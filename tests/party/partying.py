"""What the tests of parties share: bundles of examples, runs in one process and between threads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

from safetensors.numpy import load_file
from threads import Exchange
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.bundle.manifest import Manifest, read_manifest
from vflc_runtime.events import Listener, silent
from vflc_runtime.party.site import Site
from vflc_runtime.party.train import train_party
from vflc_runtime.run.checkpoints import read_checkpoint
from vflc_runtime.run.train import TrainOptions, TrainResult, train
from vflc_runtime.tensors import whole
from vflc_runtime.transport.network import Network

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

TIMEOUT = 60.0


def compiled(name: str, text: str, folder: Path) -> Path:
    compile_source(SourceText(f"{name}.vfl", text)).write(folder)
    return folder


def site(
    place: str, source: Any, network: Callable[[Manifest, int], Network], listen: Listener = silent
) -> Site:
    return Site(place, source, network, "aligned", AlignSettings(), "onnx", 1, listen)


def exchange(bundle: Path) -> Exchange:
    manifest = read_manifest(bundle / "manifest.json")
    return Exchange(manifest.places, manifest.controls)


def together(work: Mapping[str, Callable[[], Any]], seconds: float = 240) -> dict[str, Any]:
    """What the work of every place gave, each in a thread of its own; its exception where it failed."""
    found: dict[str, Any] = {}

    def run(place: str) -> None:
        try:
            found[place] = work[place]()
        except BaseException as error:
            found[place] = error

    threads = [Thread(target=run, args=(place,), daemon=True) for place in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    assert set(found) == set(work), f"still at work: {set(work) - set(found)}"
    return found


def train_together(
    bundle: Path,
    sources: Mapping[str, Any],
    out: Path,
    options: TrainOptions,
    starts: Mapping[str, Path] | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """Every place of the bundle trains in a thread, and `out/PLACE` is its run; `starts` are for --from."""
    meeting, starts = exchange(bundle), starts or {}

    def one(place: str) -> Callable[[], TrainResult]:
        here = site(place, sources.get(place), lambda manifest, rows: meeting.join(place, TIMEOUT))
        own = replace(options, start=starts.get(place))
        return lambda: train_party(bundle, replace(here, **changed), out / place, own)

    return together({place: one(place) for place in meeting.places})


def train_alone(bundle: Path, sources: Mapping[str, Any], out: Path, options: TrainOptions) -> Path:
    train(bundle, sources, out, replace(options, threads=1))
    return out


def tensors(run: Path, *places: str) -> dict[str, bytes]:
    """Weights, slots and best weights of the last checkpoint, and the model as published."""
    kept = read_checkpoint(max((run / "checkpoints").iterdir())).tensors
    found = {}
    for place in places:
        published = load_file(run / place / "model.safetensors")
        for kind, own in {**kept[place], "published": published}.items():
            if kind != "meter":
                found |= {f"{place}/{kind}/{name}": whole(tensor).tobytes() for name, tensor in own.items()}
    assert found or not places
    return found


def history(run: Path) -> list[dict[str, Any]]:
    lines = (run / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
