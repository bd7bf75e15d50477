"""A bundle on disk: the manifest and the plans of the places that are here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vflc_runtime.checks import check_plan
from vflc_runtime.manifest import Manifest, read_manifest
from vflc_runtime.plan import Plan
from vflc_runtime.plan_reader import read_plan
from vflc_runtime.reading import damaged


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the compiler wrote, read and checked: `plans` by place, in the manifest's order."""

    folder: Path
    manifest: Manifest
    plans: dict[str, Plan]

    @property
    def parties(self) -> tuple[str, ...]:
        """The parties whose tables this bundle reads."""
        return tuple(dict.fromkeys(party for plan in self.plans.values() for party in plan.tables))

    def fingerprint(self) -> str:
        """SHA-256 over the manifest's digest and every file of the plans: what a run depends on."""
        seen = hashlib.sha256(self.manifest.digest.encode())
        for place, plan in self.plans.items():
            names = ["plan.json", "encoders.json", *sorted(graph.file for graph in plan.graphs.values())]
            for name in names:
                path = plan.folder / name
                content = path.read_bytes() if path.is_file() else b""
                seen.update(f"{place}/{name}/{len(content)}/".encode() + content)
        return seen.hexdigest()


def open_bundle(folder: Path | str, places: tuple[str, ...] | None = None) -> Bundle:
    """Reads the bundle in `folder`, all places or those given; VFL0613 where it does not hold together."""
    folder = Path(folder)
    manifest = read_manifest(folder / "manifest.json")
    plans: dict[str, Plan] = {}
    for place in places or manifest.places:
        if place not in manifest.places:
            raise damaged(
                f"{folder / 'manifest.json'} has no place {place!r}; it has {', '.join(manifest.places)}"
            )
        plan = read_plan(folder / place)
        if plan.place != place:
            raise damaged(f"{folder / place / 'plan.json'} is the plan of {plan.place!r}")
        check_plan(plan, manifest)
        plans[place] = plan
    return Bundle(folder, manifest, plans)
