"""What weights of another run bring along: columns that they learned from.

The manifest's bounds hold for weights that start from the seed. Weights of a run of another spec depend on
the columns of that run as well, in the clear or behind its protections, and so does all that is computed with
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vflc_common.expressions import CONDITIONS
from vflc_common.expressions import columns as columns_read

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.errors import Failure

CODE = "VFL0752"
CLEAR = ("code", "all")
"""Bounds of what is learned without a mechanism."""
UPDATES = ("update", "catch_up", "series")
"""How names of files begin that say how weights move, whatever their gradients depend on."""

TableColumn = tuple[str, str]
Ancestors = list[dict[str, Any]]
"""Of each spec that weights come from, the latest first: `learned`, its bounds; and what weights
of each place may depend on: `used`, features and labels of tables read there, and `told` of others."""


class _Bounds(NamedTuple):
    """What receivers learn by a spec, by receiver, party and column; and how its features are made."""

    kinds: dict[tuple[str, str, str], str]
    chains: dict[str, Any]

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> _Bounds:
        kinds = {(receiver, party, column): kind for receiver, party, column, kind in spec["learned"]}
        return cls(kinds, {name: how for used in spec["used"].values() for name, how in used.items()})


def ancestors(old: Bundle, before: Ancestors, new: Bundle) -> Ancestors:
    """What a run's folder keeps of the specs that its weights come from; `before` is what `old` has kept.

    Raises:
        Failure: VFL0752, a place would learn of a column that neither the spec nor any of these bounds.
    """
    if _same(old, new):
        return before
    found = [_moved(spec, old, new) for spec in (_of(old), *before)]
    bounds = [_Bounds.of(spec) for spec in (_of(new, all_columns=True), *found)]
    for place in new.plans:
        reached = sorted(_reached(new, place))
        for spec in found:
            for column, names in _brought(spec, place).items():
                for receiver in reached:
                    if receiver != column[0]:
                        _check(bounds, spec, place, (receiver, *column), names)
    return found


def _of(bundle: Bundle, all_columns: bool = False) -> dict[str, Any]:
    """What a spec says that places learn, and what each here reads: all that its table has, if asked."""
    rows = bundle.manifest.document.get("learned", ())
    learned = [[row["receiver"], row["party"], row["column"], row["bound"]["kind"]] for row in rows]
    learned = [row for row in learned if row[3] in (*CLEAR, "epsilon")]
    used = {}
    for place, plan in bundle.plans.items():
        read = {f"{each.party}.{each.column}" for each in plan.inputs.values()}
        used[place] = {name: how for name, how in _chains(plan).items() if all_columns or name in read}
    told = {place: [row[1:] for row in learned if row[0] == place] for place in bundle.plans}
    return {"learned": learned, "used": used, "told": told}


def _moved(spec: Mapping[str, Any], old: Bundle, new: Bundle) -> dict[str, Any]:
    """The same by the places that have the weights now: in one process they may lie elsewhere than before."""
    had, has = (
        {place: {weight.whole for weight in plan.weights.values()} for place, plan in bundle.plans.items()}
        for bundle in (old, new)
    )
    used: dict[str, dict[str, Any]] = {}
    told: dict[str, list[Any]] = {}
    for place, weights in has.items():
        origins = [origin for origin, others in had.items() if weights & others]
        used[place] = {name: how for each in origins for name, how in spec["used"].get(each, {}).items()}
        told[place] = [row for each in origins for row in spec["told"].get(each, [])]
    return {"learned": spec["learned"], "used": used, "told": told}


def _same(old: Bundle, new: Bundle) -> bool:
    """Whether weights depend on the same in both: they read the same, and the same graphs move them."""
    one, other = (bundle.manifest.document for bundle in (old, new))
    alike = all(one.get(part) == other.get(part) for part in ("learned", "protections", "spends", "edges"))
    return alike and _graphs(one) == _graphs(other)


def _graphs(document: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (place, name): digest
        for place, files in document["contents"].items()
        for name, digest in files.items()
        if name == "encoders.json" or (name.endswith(".onnx") and not name.startswith(UPDATES))
    }


def _chains(plan: Any) -> dict[str, Any]:
    """Of every feature and label of a place what it is made of and how it is encoded, to how many ids."""
    return {
        f"{party}.{column['name']}": [column.get(part) for part in ("type", "value", "encoders", "rows")]
        for party, about in plan.encoders.items()
        for column in about["columns"]
    }


def _brought(spec: Mapping[str, Any], place: str) -> dict[TableColumn, list[str]]:
    """Columns of tables that a place's weights may depend on; of those read there, what is made of each."""
    found: dict[TableColumn, list[str]] = {}
    for name, (_, value, *_) in spec["used"][place].items():
        party, column = name.split(".", 1)
        for read in dict.fromkeys(columns_read(value) if value is not None else [column]):
            found.setdefault((party, read), []).append(name)
    for party, column, _ in spec["told"][place]:
        found.setdefault((party, column), [])
    return found


def _is_code(how: Any) -> bool:
    """Whether few values are left of a column, whatever else is made of it."""
    _, value, _, rows = how
    return rows is not None or (value is not None and value.get("op") in CONDITIONS)


def _reached(bundle: Bundle, place: str) -> set[str]:
    """The other places that receive what depends on a place's weights, directly or by way of others."""
    document = bundle.manifest.document
    if document.get("decides"):  # all are told which epoch was the best
        return set(document["places"]) - {place}
    found, left = {place}, [place]
    while left:
        sender = left.pop()
        heard = {edge["to"] for edge in document["edges"] if edge["from"] == sender} - found
        found |= heard
        left += heard
    return found - {place}


def _check(
    bounds: list[_Bounds], spec: Mapping[str, Any], place: str, row: tuple[str, str, str], names: list[str]
) -> None:
    """VFL0752 where a place's weights would tell a receiver more of a column than any of some specs says.

    Args:
        bounds: the spec, and those that the weights come from.
        spec: which of them the weights learned from.
        place: whose weights.
        row: receiver, and party and name of the column.
        names: what is read at the place that is made of the column.
    """
    receiver, party, column = row
    made = {name: spec["used"][place][name] for name in names}
    few = len(made) < 2 or all(map(_is_code, made.values()))
    if not names:
        few = [party, column, "code"] in spec["told"][place]
    for each in bounds:
        kind = each.kinds.get(row)
        same = all(each.chains.get(name) == how for name, how in made.items())
        if kind == "all" or (kind == "code" and few and same):
            return
    now = bounds[0].kinds.get(row, "nothing")
    more = {"nothing": "nothing", "epsilon": "no more than an ε allows", "code": "no more than a code"}[now]
    raise Failure(
        CODE,
        f"the weights of the run learned from {party}.{column}, of which {receiver} may learn {more} by this "
        "spec",
        "start from the seed, or from a run of the same model; or train one whose spec grants it first",
    )
