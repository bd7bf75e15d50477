"""The manifest: everything that may cross between places, the same file at every party."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vflc_common.canonical import PAGE, digest, page_sha256
from vflc_common.keys import MOST_LACKING, key_columns
from vflc_common.plugins import Plugin
from vflc_common.words import BYTES, EVERY_PROGRAM, FORMAT, PHASES, PRECISIONS, RANGE

from vflc_runtime.bundle.columns import check_key
from vflc_runtime.bundle.contents import PlaceHashes, read_hashes
from vflc_runtime.bundle.packing import Packing, read_packing
from vflc_runtime.bundle.plugins import read_plugins
from vflc_runtime.bundle.protections import Promised, read_promised
from vflc_runtime.bundle.reading import Json, damaged

Dim = int | Literal["batch"] | None
"""A size, the number of rows of the batch, or None: only the data knows it."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One value that crosses from a place to another; `value` is its id at both ends.

    Of a column of ids that crosses as it is, they are from 0 to below `ids`.

    The users of a population run many at once, and what they send and get crosses one after
    another along the first axis: of rows touched all of theirs, and else one entry, a "batch", for each.
    """

    id: str
    value: str
    sender: str
    receiver: str
    phase: str
    shape: tuple[Dim, ...]
    dtype: str
    programs: tuple[str, ...]
    protections: tuple[str, ...] = ()
    packing: Packing | None = None
    ids: int | None = None

    @property
    def aside(self) -> bool:
        """Whether it only says how another edge is packed, and carries no value of the graphs."""
        return self.packing is not None and self.packing.kind == RANGE


@dataclass(frozen=True, slots=True)
class Message:
    """The edges of two places and a phase that travel together."""

    id: str
    sender: str
    receiver: str
    phase: str
    programs: tuple[str, ...]
    edges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """A kind of control message that `sender` may tell `receiver`, of at most `bytes` bytes."""

    kind: str
    sender: str
    receiver: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What crosses, and the digest by which parties compare that they compiled the same.

    `contents` has the hashes of every file that a place runs or reads, `document` all that the file
    says.
    `once` are the places that compute once for each key of a batch, `keyed` all parties with a key,
    `many` the one that has many rows a key, `missing` those that may lack rows, and `parts` those whose
    key is a part of the others', with which columns. `controls` is what places tell each other besides.
    `decides` names, by program, the place whose results say which epoch is the best; it is empty where
    nothing depends on it.
    """

    model: str
    precision: str
    spec_sha256: str
    parties: tuple[str, ...]
    places: tuple[str, ...]
    edges: dict[str, Edge]
    messages: dict[str, Message]
    digest: str
    contents: PlaceHashes
    document: Mapping[str, Any] = field(repr=False)
    population: bool = False
    once: tuple[str, ...] = ()
    many: str | None = None
    missing: tuple[str, ...] = ()
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    keyed: tuple[str, ...] = ()
    controls: tuple[ControlMessage, ...] = ()
    decides: dict[str, str] = field(default_factory=dict)
    plugins: tuple[Plugin, ...] = ()
    protections: Mapping[str, Promised] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The party whose rows are the joined ones: the one with many a key, or the first that lacks none."""
        return self.many or next(p for p in self.keyed if p not in self.missing and p not in self.parts)

    def knows(self, place: str, party: str) -> bool:
        """Whether a place has to know which rows have which key of a party: it is that party, or reads it."""
        ends = {place, party}
        return place == party or any({e.sender, e.receiver} == ends for e in self.edges.values())


def read_manifest(file: Path) -> Manifest:
    """Reads and checks `manifest.json`; VFL0613 where it does not hold together."""
    document = Json.read(file)
    if document["format"].integer() != FORMAT:
        raise damaged(f"{file} has format {document['format'].value}; this version reads format {FORMAT}")
    if _digest(document) != document["digest"].text():
        raise damaged(f"{file} was changed after it was compiled: its digest does not match its content")
    plugins = read_plugins(document.get("plugins"))
    places = tuple(place.name() for place in document["places"])
    if len(set(places)) != len(places) or not places:
        raise document["places"].wrong("different places")
    population = document.get("population") is not None
    precision = document["precision"].one_of(*PRECISIONS)
    read = partial(_edge, places=places, many=population, precision=precision, plugins=plugins)
    edges = {edge.id: edge for edge in (read(item) for item in document["edges"])}
    messages = {m.id: m for m in (_message(item, edges) for item in document["messages"])}
    if len(edges) != len(list(document["edges"])) or len(messages) != len(list(document["messages"])):
        raise damaged(f"{file}: two edges or two messages have one id")
    return Manifest(
        model=document["model"].text(),
        precision=precision,
        spec_sha256=document["spec_sha256"].text(),
        parties=tuple(party["name"].name() for party in document["parties"]),
        places=places,
        edges=edges,
        messages=messages,
        digest=document["digest"].text(),
        contents=read_hashes(document["contents"], places),
        document=document.value,
        population=population,
        once=tuple(place.one_of(*places) for place in document.get("once") or ()),
        many=_many(document),
        missing=_missing(document, places),
        parts=_parts(document),
        keyed=tuple(party["name"].name() for party in document["parties"] if party.get("key") is not None),
        controls=tuple(each for item in document.get("control") or () for each in _controls(item, places)),
        decides={program: place.one_of(*places) for program, place in _items(document.get("decides"))},
        plugins=plugins,
        protections={p.id: p for p in map(read_promised, document.get("protections") or ())},
    )


def check_page(file: Path, manifest: Manifest) -> None:
    """VFL0613 where the page that a person reads, if it is there, is not the manifest's."""
    if (known := manifest.document.get(PAGE)) is None or not file.is_file():
        return
    try:
        page = file.read_bytes()
    except OSError as error:
        raise damaged(f"{file} cannot be read: {error.strerror}") from None
    if page_sha256(page, manifest.digest) != known:
        raise damaged(f"{file} is not what manifest.json says of it")


def _many(document: Json) -> str | None:
    """The party with many rows a key; where there is none, nobody computes once a key."""
    parties = [party for party in document["parties"] if party.get("rows_per_key") is not None]
    names = [party["name"].name() for party in parties if party["rows_per_key"].one_of("many")]
    joined = any(p.get("missing") or p.get("part_of_key") for p in document["parties"])
    if len(names) > 1 or (not names and not joined and document.get("once") is not None):
        raise document["parties"].wrong("one party with many rows a key, where others compute once for each")
    return names[0] if names else None


def _parts(document: Json) -> dict[str, tuple[int, ...]]:
    """The parties whose key is a part of the others'; one of these has all rows."""
    found = {
        party["name"].name(): tuple(each.integer(0) for each in part)
        for party in document["parties"]
        if (part := party.get("part_of_key")) is not None
    }
    for party in document["parties"]:
        check_key(party.get("key"))
    keys = {p["name"].value: len(key_columns(p.value)) for p in document["parties"] if p.get("key")}
    whole = [p for p in document["parties"] if p["name"].value in keys.keys() - found]
    if found and not any(party.get("missing") is None for party in whole):
        raise document["parties"].wrong("a party with the whole key, which has all rows")
    columns = min((keys[party["name"].value] for party in whole), default=0)
    for name, own in found.items():
        fits = len({*own}) == len(own) == keys.get(name) and len(own) < columns and max(own) < columns
        if not fits:
            raise document["parties"].wrong("keys of which some are a part of the longest")
    return found


def _missing(document: Json, places: Sequence[str]) -> tuple[str, ...]:
    """The parties that may lack rows; those with a place of their own compute from their own rows."""
    names = [party["name"].name() for party in document["parties"] if party.get("missing") is not None]
    once = [place.value for place in document.get("once") or ()]
    keyed = [party["name"].value for party in document["parties"] if party.get("key") is not None]
    alone = all(name in once for name in names if name in places) and set(names) <= set(keyed)
    if len(names) > MOST_LACKING or not alone or (names and len(names) == len(keyed)):
        raise document["parties"].wrong("few parties that may lack rows, which compute once for each key")
    return tuple(sorted(names))


def _digest(document: Json) -> str:
    """What the digest must be; VFL0613 where the document has a number that is none."""
    if not isinstance(document.value, dict):
        raise document.wrong("an object")
    try:
        return digest(document.value)
    except ValueError as error:
        raise damaged(f"{document.path} has a number that is not finite: {error}") from None


def _controls(item: Json, places: tuple[str, ...]) -> list[ControlMessage]:
    """A kind, once for each sender and receiver."""
    kind, size = item["id"].text(), item["bytes"].integer(1)
    senders, receivers = ([place.one_of(*places) for place in item[end]] for end in ("from", "to"))
    return [ControlMessage(kind, a, b, size) for a in senders for b in receivers if a != b]


def _items(item: Json | None) -> list[tuple[str, Json]]:
    return [] if item is None else list(item.items())


def _edge(item: Json, places: tuple[str, ...], many: bool, precision: str, plugins: Sequence[Plugin]) -> Edge:
    shape = tuple(_dim(size) for size in item["shape"])
    return Edge(
        id=item["id"].text(),
        value=item["value"].text(),
        sender=item["from"].one_of(*places),
        receiver=item["to"].one_of(*places),
        phase=item["phase"].one_of(*PHASES),
        shape=("batch", *shape) if many and shape[:1] != (None,) else shape,
        dtype=item["dtype"].one_of(*BYTES),
        programs=tuple(program.one_of(*EVERY_PROGRAM) for program in item["programs"]),
        protections=tuple(each["id"].text() for each in item.get("protections") or ()),
        packing=read_packing(item, precision, plugins),
        ids=None if (ids := item.get("ids")) is None else ids.integer(1),
    )


def _dim(size: Json) -> Dim:
    if isinstance(size.value, str):
        return "batch" if size.text() == "batch" else None
    return None if size.value is None else size.integer(1)


def _message(item: Json, edges: dict[str, Edge]) -> Message:
    message = Message(
        id=item["id"].text(),
        sender=item["from"].text(),
        receiver=item["to"].text(),
        phase=item["phase"].text(),
        programs=tuple(program.one_of(*EVERY_PROGRAM) for program in item["programs"]),
        edges=item["edges"].texts(),
    )
    for name in message.edges:
        edge = edges.get(name)
        if edge is None or (edge.sender, edge.receiver, edge.phase) != (
            message.sender,
            message.receiver,
            message.phase,
        ):
            raise damaged(f"{item.path}: edge {name!r} is not one of this message's places and phase")
        if not set(message.programs) <= set(edge.programs):
            raise damaged(f"{item.path}: edge {name!r} is not declared for {', '.join(message.programs)}")
    if not message.edges:
        raise item["edges"].wrong("at least one edge")
    return message
