"""A bundle on disk: the manifest and the plans of the places that are here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vflc_common.words import DEFAULT_ENGINE, KERAS_FOLDER

from vflc_runtime import files
from vflc_runtime.bundle.checks import check_head, check_plan
from vflc_runtime.bundle.contents import Contents, open_contents, read_keras_hashes
from vflc_runtime.bundle.manifest import Manifest, check_page, read_manifest
from vflc_runtime.bundle.plan import PlacePlan, Plan
from vflc_runtime.bundle.plan_reader import read_kind, read_plan
from vflc_runtime.bundle.plugins import find_engine
from vflc_runtime.bundle.population_checks import check_population
from vflc_runtime.bundle.population_plan import HubPlan, UsersPlan
from vflc_runtime.bundle.population_reader import read_hub, read_users
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.bundle.slices import check_slices
from vflc_runtime.errors import Failure


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the compiler wrote, read and checked: `plans` by place, in the manifest's order.

    `engine` is that whose files were read; `keras` is the digest of the Keras files, None where the bundle
    has none.
    """

    folder: Path
    manifest: Manifest
    plans: dict[str, Plan]
    engine: str
    keras: str | None = None

    @property
    def parties(self) -> tuple[str, ...]:
        """The parties whose tables this bundle reads."""
        return tuple(dict.fromkeys(party for plan in self.plans.values() for party in plan.tables))


@dataclass(frozen=True, slots=True)
class PopulationBundle:
    """The same of a model over a population: what all users do, and what their hub does."""

    folder: Path
    manifest: Manifest
    users: UsersPlan
    hub: HubPlan
    engine: str
    keras: str | None = None

    @property
    def plans(self) -> dict[str, PlacePlan]:
        """Both plans by place."""
        return {plan.place: plan for plan in (self.users, self.hub)}

    @property
    def parties(self) -> tuple[str, ...]:
        """Whose table it reads."""
        return self.users.tables


READERS: dict[str, Callable[[Contents], PlacePlan]] = {
    "place": read_plan,
    "users": read_users,
    "hub": read_hub,
}
"""What reads the plan of each kind of place."""


def open_any(
    folder: Path | str, places: tuple[str, ...] | None = None, engine: str = DEFAULT_ENGINE
) -> Bundle | PopulationBundle:
    """Reads the bundle in `folder`, all places or those given, with the plans that an engine runs.

    Every file of the places is hashed and compared with the manifest, and used as it was then.
    VFL0613 where the bundle does not hold together, or was compiled without files for that engine.
    """
    folder, backend = Path(folder), find_engine(engine).reads
    manifest = read_manifest(folder / "manifest.json")
    keras = read_keras_hashes(folder, manifest.places, manifest.digest, backend)
    plans: dict[str, PlacePlan] = {}
    for place in places or manifest.places:
        if place not in manifest.places:
            raise damaged(
                f"{folder / 'manifest.json'} has no place {place!r}; it has {', '.join(manifest.places)}"
            )
        contents = open_contents(folder, place, manifest.contents, keras, backend)
        plans[place] = READERS[read_kind(contents)](contents)
        check_head(plans[place], manifest, place)
    check_page(folder / "manifest.md", manifest)
    digest = keras.digest if keras else None
    match tuple(plans.values()):
        case (UsersPlan() as users, HubPlan() as hub) if manifest.population:
            check_population(users, hub, manifest)
            return PopulationBundle(folder, manifest, users, hub, engine, digest)
    own = {place: plan for place, plan in plans.items() if isinstance(plan, Plan)}
    if len(own) < len(plans) or manifest.population:
        raise damaged(f"the plans of {folder} are not all of one kind of model, that of manifest.json")
    for plan in own.values():
        check_plan(plan, manifest)
    if places is None:
        check_slices(own.values())
    return Bundle(folder, manifest, own, engine, digest)


def open_bundle(
    folder: Path | str, places: tuple[str, ...] | None = None, engine: str = DEFAULT_ENGINE
) -> Bundle:
    """The same of a model over parties; VFL0502 where it is one over a population."""
    return of_parties(open_any(folder, places, engine))


def of_parties(found: Bundle | PopulationBundle) -> Bundle:
    """The bundle, if it is of a model over parties; VFL0502 otherwise."""
    if isinstance(found, Bundle):
        return found
    raise Failure(
        "VFL0502",
        f"{found.folder} is a model over a population, which this version of the command does not support",
        "use `vflc train`, `evaluate`, `predict`, `verify` or `graph`; what a population learned "
        "is in model.safetensors in the hub's folder of a run",
    )


def of_population(found: Bundle | PopulationBundle) -> PopulationBundle:
    """The bundle, if it is of a model over a population; VFL0502 otherwise."""
    if isinstance(found, PopulationBundle):
        return found
    raise Failure("VFL0502", f"{found.folder} is a model over parties, not over a population")


def is_population(folder: Path) -> bool:
    """Whether the bundle in a folder is one of a population; VFL0613 where there is no bundle."""
    return read_manifest(folder / "manifest.json").population


def opened(bundle: Bundle | Path | str, engine: str) -> Bundle:
    """The bundle with the plans that an engine runs, read again where it has those of another."""
    if not isinstance(bundle, Bundle):
        return open_bundle(bundle, engine=engine)
    return bundle if bundle.engine == engine else open_bundle(bundle.folder, tuple(bundle.plans), engine)


def add_files(folder: Path, other: Path, engine: str) -> None:
    """Gives the bundle in `folder` what an engine needs of `other`, which was compiled from the same spec."""
    if find_engine(engine).reads == KERAS_FOLDER:
        add_keras(folder, other)


def add_keras(folder: Path, other: Path) -> None:
    """Gives the bundle in `folder` the Keras plans of `other`, compiled from the same spec.

    Nothing happens where they are there, or where the manifests differ. Places that `folder` does
    not have are left out.
    """
    if read_manifest(folder / "manifest.json").digest != read_manifest(other / "manifest.json").digest:
        return
    listed = other / f"{KERAS_FOLDER}.json"
    if (folder / listed.name).exists() or not listed.is_file():
        return
    for place in read_manifest(folder / "manifest.json").places:
        source, target = (root / place / KERAS_FOLDER for root in (other, folder))
        if source.is_dir() and target.parent.is_dir():
            new = target.with_name(f".{target.name}.new")
            for left in (new, target):
                shutil.rmtree(left, ignore_errors=True)
            shutil.copytree(source, new)
            new.rename(target)
    files.replace_with(folder / listed.name, listed.read_bytes())  # last: with it they count
