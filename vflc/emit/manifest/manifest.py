"""`manifest.json` and `manifest.md`: everything that crosses, the same at every party."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from vflc_common.canonical import DIGEST, PAGE, page_sha256, signed
from vflc_common.keys import key_columns, key_json
from vflc_common.text import quote
from vflc_common.words import FORMAT

from vflc import __version__
from vflc.emit.manifest.control import control, decides, described
from vflc.emit.manifest.disclosed import given_away
from vflc.emit.manifest.edges import edge_json
from vflc.emit.manifest.fitted import described_tables, fitted
from vflc.emit.manifest.learned import learned, who_may_learn
from vflc.emit.manifest.packing import ranges
from vflc.emit.manifest.protected import protected, protections
from vflc.emit.manifest.sizes import sizes_told
from vflc.emit.manifest.text import plain
from vflc.emit.outside import described as described_models
from vflc.emit.outside import listed
from vflc.ir.model import ColumnInfo, PartyInfo
from vflc.ir.stages import Lowered, Scheduled


def manifest(
    model: Scheduled, spec: str, precision: str, contents: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """The manifest as data, without its page and digest.

    `contents` holds for each place the SHA-256 of every file that its runtime executes or reads, so
    that equal digests mean equal programs.
    """
    edges = [edge_json(model, edge, precision) for edge in model.edges]
    beside = ranges(edges, precision)
    data: dict[str, Any] = {
        "format": FORMAT,
        "vflc": __version__,
        "model": model.name,
        "spec_sha256": hashlib.sha256(spec.encode()).hexdigest(),
        "precision": precision,
        "places": list(model.places),
        "contents": contents,
        "parties": parties(model),
        "edges": [each for edge in edges for each in _with(edge, beside.get(edge["id"]))],
        "messages": [
            {
                "id": m.id,
                "from": m.source,
                "to": m.target,
                "phase": m.phase,
                "programs": list(m.programs),
                "edges": [each for e in m.edges for each in _with(e, beside.get(e, {}).get("id"))],
            }
            for m in model.messages
        ],
        **({"once": list(model.once)} if model.once else {}),
        "control": control(model),
        "decides": decides(model),
        **fitted(model),
        **plugins(model),
        **listed(model),
        **protections(model),
        **learned(model),
    }
    return data


def plugins(model: Lowered) -> dict[str, Any]:
    """What the model uses of other packages: their code is in no bundle, so their versions are."""
    return {"plugins": [each._asdict() for each in model.plugins]} if model.plugins else {}


def parties(model: Lowered) -> list[dict[str, Any]]:
    """Who owns what."""
    return [
        {
            "name": party.name,
            "key": key_json(party.key),
            **({"rows_per_key": "many"} if party.many else {}),
            **({"missing": True} if party.missing else {}),
            **({"part_of_key": list(party.part)} if party.part is not None else {}),
            **{
                f"{kind}s": [c.name for c in party.columns if _declared(c) == kind]
                for kind in ("feature", "column", "label", "weight")
            },
            **({"in_table": named} if (named := _in_table(party)) else {}),
            **({"vocabularies": files} if (files := _vocabularies(party)) else {}),
        }
        for party in model.parties
    ]


def _declared(column: ColumnInfo) -> str:
    """As what the spec declares it: metrics may group rows by a `column`."""
    return "column" if column.kind == "group" else column.kind


def _of_key(party: Mapping[str, Any]) -> str:
    """What a page says behind a key."""
    many = ", many rows each" if "rows_per_key" in party else ""
    many += ", a part of the key" if "part_of_key" in party else ""
    return many + (", may lack rows" if "missing" in party else "")


def _in_table(party: PartyInfo) -> dict[str, str]:
    """What the table calls the columns that the spec gives another name."""
    return {column.name: column.table for column in party.columns if column.table is not None}


def _vocabularies(party: PartyInfo) -> list[dict[str, Any]]:
    """Files that list the values of columns."""
    return [
        {"column": c.name, "path": c.listed.path, "sha256": c.listed.sha256, "values": c.listed.size}
        for c in party.columns
        if c.listed is not None
    ]


def _with(first: Any, second: Any) -> tuple[Any, ...]:
    """Both, or the first alone where there is no second."""
    return (first,) if second is None else (first, second)


# --- for a person to read and sign -----------------------------------------------------------


def with_page(data: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The manifest, under a digest that covers its page as well, and that page."""
    page = markdown({**data, DIGEST: ""}).encode()
    bound = signed({**data, PAGE: page_sha256(page, "")})
    return bound, page.replace(b"``", f"`{bound[DIGEST]}`".encode(), 1)


def markdown(data: dict[str, Any]) -> str:
    """The manifest as a page: parties, every edge, and the digest that all parties compare."""
    lines = [f"# What crosses in {plain(data['model'])}", ""]
    lines += [f"vflc {data['vflc']} · {data['precision']} · digest `{data['digest']}`", ""]
    lines += who_may_learn(data)
    lines += [
        "## Parties",
        "",
        "| party | key | features | labels | only computed with |",
        "| --- | --- | --- | --- | --- |",
    ]
    for party in data["parties"]:
        cells = [
            party["name"],
            plain(", ".join(key_columns(party)) or "–") + _of_key(party),
        ]
        labels = [*_called(party, "labels"), *(f"{name} (weight)" for name in _called(party, "weights"))]
        for names in (_called(party, "features"), labels, _called(party, "columns")):
            cells.append(plain(", ".join(names)) or "–")
        lines.append(f"| {' | '.join(cells)} |")
    files = [(party["name"], file) for party in data["parties"] for file in party.get("vocabularies", ())]
    if files:
        lines += [
            "",
            "## Files of values",
            "",
            "| party | column | file | SHA-256 | values |",
            "| --- | --- | --- | --- | --- |",
        ]
    for name, file in files:
        cells = [
            name,
            plain(file["column"]),
            plain(file["path"]),
            f"`{file['sha256']}`",
            f"{file['values']:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += described_models(data.get("models", []))
    lines += described_tables(data.get("fitted", []))
    each = "step"
    if "population" in data:
        each = "client update"
        lines += _population(data["population"])
    lines += ["", "## Edges", ""]
    if not data["edges"]:
        return "\n".join([*lines, "Nothing crosses.", ""])
    lines += [
        "| edge | from → to | phase | in | shape | type | bytes | depends on |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for edge in data["edges"]:
        shape = " × ".join(str(size) for size in edge["shape"]) or "one number"
        if edge.get("sized_by"):
            size = "depends on the data"
        elif edge["bytes_per_row"]:
            size = f"{edge['bytes_per_row']} a row"
        else:
            size = f"{edge['bytes_per_step']} a {each}"
        lines.append(
            f"| `{edge['id']}` | {edge['from']} → {edge['to']} | {edge['phase']} "
            f"| {', '.join(edge['programs'])} "
            f"| {shape} | {edge['dtype']} | {size} | {', '.join(edge['depends_on']) or '–'} |"
        )
    lines += sizes_told(data)
    lines += protected(data)
    lines += given_away(data)
    lines += [
        "",
        "## Messages",
        "",
        "Edges of a message travel together. Nothing that is not on this page is sent or accepted.",
        "",
    ]
    lines += ["| message | in | edges |", "| --- | --- | --- |"]
    for message in data["messages"]:
        edges = ", ".join(f"`{edge}`" for edge in message["edges"])
        lines.append(f"| `{message['id']}` | {', '.join(message['programs'])} | {edges} |")
    lines += described(data.get("control", []))
    return "\n".join([*lines, ""])


def _called(party: dict[str, Any], kind: str) -> list[str]:
    """The names of columns, each with what its table calls it where that is another."""
    in_table = party.get("in_table", {})
    return [f"{name}: {quote(in_table[name])}" if name in in_table else name for name in party[kind]]


def _population(about: dict[str, Any]) -> list[str]:
    """What a client update of one user of a population may see and what stays."""
    names = {
        scope: ", ".join(f"`{name}`" for name in about[scope]) or "none" for scope in ("global", "local")
    }
    return [
        "",
        "## Population",
        "",
        f"Each user of `{about['place']}` is a party of its own. In a client update it asks for the",
        "rows it needs, gets global weights and, in training, sends back how they changed; "
        f"`{about['hub']}` sees nothing else.",
        "",
        f"- global weights, kept at `{about['hub']}`: {names['global']}",
        f"- local weights, which never leave their user: {names['local']}",
    ]
