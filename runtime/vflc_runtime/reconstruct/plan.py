"""The bundle of a population as the runtime uses it, read and checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vflc_runtime.manifest import Manifest, read_manifest
from vflc_runtime.plan import INITIALS, METRICS, Init, Metric, Slot
from vflc_runtime.reading import Json, damaged


@dataclass(frozen=True, slots=True)
class Input:
    """A column's values. `kind` is `id`, `ids` or `number`."""

    id: str
    kind: str
    label: bool


@dataclass(frozen=True, slots=True)
class Ids:
    """What is fed to read the copies of `table`; `distinct`: each id of a user's batch once, then -1."""

    id: str
    table: str
    features: tuple[str, ...]
    distinct: bool


@dataclass(frozen=True, slots=True)
class Weight:
    """A global weight of the hub, or a local one of every user; `shape` is that of one."""

    name: str
    shape: tuple[int, ...]
    init: Init
    table: bool
    local: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """A file and the ids of its inputs and outputs."""

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Graphs from (weight, gradient, step, slots) to (new weight, new slots), as those of a party's plan.

    `sparse`: a row without a gradient stays as it is, and so do its slots.
    """

    graph: Graph
    rows_graph: Graph
    slots: tuple[Slot, ...]
    row_slots: tuple[Slot, ...]
    sparse: bool


@dataclass(frozen=True, slots=True)
class Gradient:
    """Of a weight: one value, or pairs (ids, rows) for a table."""

    weight: str
    dense: str | None
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Phase:
    """`rebuild` or `client`: what it changes and how."""

    graph: Graph | None
    optimizer: Optimizer
    gradients: tuple[Gradient, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """`train reconstruct`; see the reference of the language for what each means."""

    rounds: int
    cohort: int
    batch: int
    limit: int | None
    seed: int
    validation: float
    test: float
    divide: str
    halves: str
    fraction: float
    rebuild_epochs: int
    rebuild_steps: int | None
    client_epochs: int
    client_steps: int | None
    weighting: str
    joint: bool
    keep_local: bool
    clip_norm: float | None
    noise: float
    noise_delta: float | None
    evaluate_every: int | None
    checkpoint_rounds: int | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What users get; `metric` says how it is measured, by `label`, where a label tells."""

    name: str
    value: str
    label: str | None
    metric: Metric | None


@dataclass(frozen=True, slots=True)
class Place:
    """What a run's folder needs to know of a place."""

    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Both places of a population's bundle."""

    folder: Path
    manifest: Manifest
    place: str
    hub: str
    precision: str
    inputs: dict[str, Input]
    ids: tuple[Ids, ...]
    mask: str | None
    weights: dict[str, Weight]
    rebuild: Phase
    client: Phase
    evaluate: Graph
    predict: Graph
    server: Optimizer
    losses: tuple[tuple[str, str, float], ...]
    predictions: tuple[Prediction, ...]
    settings: Settings

    @property
    def plans(self) -> dict[str, Place]:
        """The places by name."""
        return {self.place: Place((self.place,)), self.hub: Place(())}

    @property
    def globals(self) -> list[Weight]:
        return [weight for weight in self.weights.values() if not weight.local]

    @property
    def locals(self) -> list[Weight]:
        return [weight for weight in self.weights.values() if weight.local]

    def fingerprint(self) -> str:
        """SHA-256 over the manifest's digest and every file of both places."""
        seen = hashlib.sha256(self.manifest.digest.encode())
        for place in (self.place, self.hub):
            for path in sorted(path for path in (self.folder / place).iterdir() if path.is_file()):
                content = path.read_bytes()
                seen.update(f"{place}/{path.name}/{len(content)}/".encode() + content)
        return seen.hexdigest()


def is_population(folder: Path) -> bool:
    """Whether the bundle in a folder is one of a population; VFL0613 where there is no bundle."""
    return Json.read(folder / "manifest.json").get("population") is not None


def read_population(folder: Path) -> Plan:
    """Reads the bundle of a population; VFL0613 where it does not hold together."""
    manifest = read_manifest(folder / "manifest.json")
    about = Json.read(folder / "manifest.json")["population"]
    place, hub = about["place"].name(), about["hub"].name()
    users, server = Json.read(folder / place / "plan.json"), Json.read(folder / hub / "plan.json")
    for plan in (users, server):
        if plan["kind"].text() != "population" or plan["precision"].text() != manifest.precision:
            raise damaged(f"{plan.path} of {folder} belongs to another bundle than manifest.json")
    graphs = {name: _graph(folder / place, item) for name, item in users["graphs"].items()}
    hub_graphs = {name: _graph(folder / hub, item) for name, item in server["graphs"].items()}
    metrics = tuple(metric.one_of(*METRICS) for metric in users["reconstruct"]["metrics"])
    phases = users["phases"]
    return Plan(
        folder=folder,
        manifest=manifest,
        place=place,
        hub=hub,
        precision=manifest.precision,
        inputs={i.id: i for i in (_input(item) for item in users["inputs"])},
        ids=tuple(_ids(item) for item in users["ids"]),
        mask=None if users.get("mask") is None else users["mask"].text(),
        weights={w.name: w for w in (_weight(item) for item in users["weights"])},
        rebuild=_phase(phases["rebuild"], graphs, graphs.get("rebuild")),
        client=_phase(phases["client"], graphs, _named(graphs, "client", users)),
        evaluate=_named(graphs, "evaluate", users),
        predict=_named(graphs, "predict", users),
        server=_optimizer(server["optimizer"], hub_graphs),
        losses=tuple(
            (loss["name"].text(), loss["value"].text(), loss["coefficient"].number())
            for loss in users["losses"]
        ),
        predictions=tuple(_prediction(item, metrics) for item in users["predictions"]),
        settings=_settings(users["reconstruct"]),
    )


def _graph(folder: Path, item: Json) -> Graph:
    path = (folder / item["file"].text()).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise damaged(f"{item.path}: {item['file'].value!r} is not in the bundle")
    return Graph(path, item["inputs"].texts(), item["outputs"].texts())


def _named(graphs: dict[str, Graph], name: str, where: Json) -> Graph:
    if name not in graphs:
        raise damaged(f"{where.path}: there is no graph {name!r}")
    return graphs[name]


def _input(item: Json) -> Input:
    return Input(item["id"].text(), item["kind"].one_of("id", "ids", "number"), item["label"].flag())


def _ids(item: Json) -> Ids:
    return Ids(item["id"].text(), item["table"].text(), item["features"].texts(), item["distinct"].flag())


def _weight(item: Json) -> Weight:
    init = Init(item["init"]["kind"].one_of(*INITIALS), item["init"]["scale"].number())
    local = item["scope"].one_of("global", "local") == "local"
    return Weight(item["name"].text(), item["shape"].shape(), init, item["table"].flag(), local)


def _phase(item: Json, graphs: dict[str, Graph], graph: Graph | None) -> Phase:
    gradients = tuple(
        Gradient(
            each["weight"].text(),
            None if each.get("dense") is None else each["dense"].text(),
            tuple((pair.texts()[0], pair.texts()[1]) for pair in each["rows"]),
        )
        for each in item["gradients"]
    )
    return Phase(graph, _optimizer(item["optimizer"], graphs), gradients)


def _optimizer(item: Json, graphs: dict[str, Graph]) -> Optimizer:
    return Optimizer(
        _named(graphs, item["graph"].text(), item),
        _named(graphs, item["rows_graph"].text(), item),
        tuple(Slot(slot["name"].text(), slot["init"].number()) for slot in item["slots"]),
        tuple(Slot(slot["name"].text(), slot["init"].number()) for slot in item["row_slots"]),
        item["sparse"].flag(),
    )


def _prediction(item: Json, metrics: tuple[str, ...]) -> Prediction:
    name, value = item["name"].text(), item["value"].text()
    if item.get("label") is None:
        return Prediction(name, value, None, None)
    label, kind = item["label"].text(), item["kind"].one_of("binary", "multiclass", "number")
    return Prediction(name, value, label, Metric(name, kind, metrics, {"train": (value, label)}))


def _settings(item: Json) -> Settings:
    def whole(name: str, least: int = 1) -> int:
        return item[name].integer(least)

    def maybe(name: str) -> int | None:
        return None if item.get(name) is None else item[name].integer(1)

    def number(name: str) -> float | None:
        return None if item.get(name) is None else item[name].number()

    return Settings(
        rounds=whole("rounds"),
        cohort=whole("cohort"),
        batch=whole("batch"),
        limit=maybe("limit"),
        seed=whole("seed", 0),
        validation=item["validation"].number(),
        test=item["test"].number(),
        divide=item["divide"].one_of("random", "keys"),
        halves=item["halves"].one_of("examples", "batches", "fraction", "same"),
        fraction=item["fraction"].number(),
        rebuild_epochs=whole("rebuild_epochs"),
        rebuild_steps=maybe("rebuild_steps"),
        client_epochs=whole("client_epochs"),
        client_steps=maybe("client_steps"),
        weighting=item["weighting"].one_of("examples", "uniform"),
        joint=item["joint"].flag(),
        keep_local=item["keep_local"].flag(),
        clip_norm=number("clip_norm"),
        noise=item["noise"].number(),
        noise_delta=number("noise_delta"),
        evaluate_every=maybe("evaluate_every"),
        checkpoint_rounds=maybe("checkpoint_rounds"),
    )
