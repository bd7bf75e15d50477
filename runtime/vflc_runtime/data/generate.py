"""Random tables that fit a spec: what verification, cost and tests run on when there is no data.

Every listed value of a `vocab` occurs once there are rows enough, values that `missing` or a default
allow to be absent or unknown sometimes are, and labels are neither constant nor missing where the
expressions that make them allow it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from vflc_common.dates import DAY
from vflc_common.encoder import DEFAULT, Encoder, EncoderSettings, Suits, is_whole
from vflc_common.encoders import record
from vflc_common.expressions import CALLS, ExpressionTree
from vflc_common.expressions import columns as columns_read
from vflc_common.keys import has_many, key_columns, key_part, may_lack
from vflc_common.text import text
from vflc_common.words import DATES, DECIMAL_COMMA, LISTS, kind_of, vector_width

from vflc_runtime.data import expressions
from vflc_runtime.data.table import ColumnJson, name_in_table

EXAMPLES = 20
"""Rows a user of a population, on average."""
GAPS = 0.1
"""Share of missing or unknown values where the spec allows them."""
LACKED = 5
"""Of so many rows a party lacks one where the spec allows it."""
DISTINCT, MOST_DISTINCT = 20, 2_000_000
"""Different values of a column where no encoder says how many tell something, and the most."""


def generate(encoders: Mapping[str, Any], rows: int, seed: int) -> dict[str, pa.Table]:
    """Random tables of all parties of `encoders` (the content of encoders.json).

    Args:
        encoders: columns and encoders of every party.
        rows: rows of each table; the keys are the same at all parties, in a different order each. Of a
            population, and of a party with many rows a key, some `EXAMPLES` rows have a key in common.
            A party that may lack rows lacks every `LACKED`th.
        seed: the same seed gives the same tables.

    Returns:
        Of each party a table that `Dataset.load` takes as a source.
    """
    tables = {}
    starred = any(key_part(info) is not None for info in encoders["parties"].values())
    keys_of = _starred(encoders["parties"], rows) if starred else {}
    for party, info in encoders["parties"].items():
        columns = {column["name"]: column for column in info["columns"]}
        raw = {name: column for name, column in columns.items() if column.get("value") is None}
        made = _fitting(party, columns, raw, rows, seed)
        made = {name_in_table(raw[name]): values for name, values in made.items()}
        types = {name_in_table(column): column["type"] for column in raw.values()}
        repeated = bool(info.get("population")) or has_many(info)
        keys = pa.array(_keys(rows, repeated, _random(seed, party, "users")))
        own = rows
        for at, key in enumerate(key_columns(info)):
            if starred:
                keys, own = pa.array(np.resize(keys_of[party][:, at], rows)), len(keys_of[party])
            made[key] = keys.cast(_arrow(types[key])) if key in types else keys
        order = _random(seed, party, "order").permutation(own)
        order = order[: own - own // LACKED] if may_lack(info) else order
        names = [*key_columns(info), *(name for name in made if name not in key_columns(info))]
        tables[party] = pa.table({name: made[name].take(pa.array(order)) for name in names})
    return tables


def _keys(rows: int, repeated: bool, random: np.random.Generator) -> NDArray[np.int64]:
    if not repeated:
        return np.arange(1, rows + 1)
    return random.integers(1, max(rows // EXAMPLES, 1), rows, endpoint=True)


def _starred(parties: Mapping[str, Mapping[str, Any]], rows: int) -> dict[str, NDArray[np.int64]]:
    """The keys of each party, [its rows, columns], where those of some are a part of the others'.

    The first column of the whole key has about as many values as the last; those between are one.
    """
    columns = max(len(key_columns(info)) for info in parties.values())
    number, side = np.arange(rows), math.isqrt(rows) + 1
    if any(has_many(info) for info in parties.values()):
        number //= 2
    whole = np.zeros((rows, columns), np.int64)
    whole[:, 0], whole[:, -1] = number // side + 1, number % side + 1
    own = {}
    for party, info in parties.items():
        part = whole[:, list(key_part(info) or range(columns))]
        own[party] = part if has_many(info) else np.unique(part, axis=0)
    return own


def _random(seed: int, *purpose: str) -> np.random.Generator:
    digest = hashlib.sha256("\0".join(["vflc generate", str(seed), *purpose]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


_ARROW = {
    "string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "date": pa.date32(),
    "timestamp": pa.timestamp("us"), DECIMAL_COMMA: pa.float64(), "list(int)": pa.list_(pa.int64()),
    "list(string)": pa.list_(pa.string()),
}  # fmt: skip
FROM, TO = -3653, 29220
"""Days since 1970 between which dates lie: 1960 to 2049."""


def _arrow(type: str) -> pa.DataType:
    return _ARROW[type]


def _fitting(
    party: str, columns: Mapping[str, ColumnJson], raw: Mapping[str, ColumnJson], rows: int, seed: int
) -> dict[str, pa.Array]:
    """The raw columns of one party: the first try whose labels vary and have no gaps, or the best one."""
    best: tuple[int, dict[str, pa.Array]] = (-1, {})
    for number, (scale, gaps) in enumerate(_tries()):
        random = _random(seed, party, str(number))
        made = {}
        for name, column in raw.items():
            trees = [c["value"] for c in columns.values() if c.get("value") and _uses(c, name, columns)]
            made[name] = _column(column, trees, _looked_up(name, columns), rows, random, scale, gaps)
        good = 0
        derived = [c for c in columns.values() if c.get("value") is not None]
        for column in derived:
            value = _value(column, columns, made, rows)
            filled = any(record(e).fills is not None for e in column.get("encoders", ()))
            good += (value.null_count == 0 or filled) + (len(pc.unique(value.drop_null())) > 1)
        if good > best[0]:
            best = (good, made)
        if good == 2 * len(derived):
            break
    return best[1]


def _looked_up(name: str, columns: Mapping[str, ColumnJson]) -> list[str]:
    """Values of the vocabularies that a text is looked up in as it is, or stripped or in small letters."""
    found: list[str] = []
    for column in columns.values():
        tree = column.get("value") or {}
        while CALLS.get(tree.get("call", "")) == "string" and tree["call"] != "cross":
            tree = tree["args"][0]
        first = column.get("encoders", ())[:1]
        if tree == {"column": name} and "string" in {k for e in first for k in record(e).reads}:
            found += map(text, _Wanted(first).listed)
    return found


def _tries() -> Iterator[tuple[float, bool]]:
    """How wide numbers spread, and whether columns that expressions test for gaps have any."""
    for gaps in (True, False):
        for scale in (1.0, 10.0, 100.0, 1000.0):
            yield scale, gaps


def _uses(column: ColumnJson, name: str, columns: Mapping[str, ColumnJson]) -> bool:
    used = {*columns_read(column["value"])}
    return name in used or any(
        columns[other].get("value") is not None and _uses(columns[other], name, columns) for other in used
    )


def _value(
    column: ColumnJson, columns: Mapping[str, ColumnJson], made: Mapping[str, pa.Array], rows: int
) -> pa.Array:
    known = {
        name: _inside(made[name]) if name in made else _value(columns[name], columns, made, rows)
        for name in columns_read(column["value"])
    }
    return expressions.evaluate(column["value"], known, rows, column.get("where"))


def _inside(values: pa.Array) -> pa.Array:
    """Values [n] as expressions are given them: moments as microseconds."""
    if pa.types.is_temporal(values.type):
        return values.cast(pa.timestamp("us")).cast(pa.int64())
    return values


def _column(
    column: ColumnJson,
    trees: Sequence[ExpressionTree],
    known: Sequence[str],
    rows: int,
    random: np.random.Generator,
    scale: float,
    gaps: bool,
) -> pa.Array:
    """A raw column: values by its encoders, else of `known`, else by expressions it is in, or its type."""
    wanted = _Wanted(column.get("encoders", ()))
    if (width := vector_width(column["type"])) is not None:
        return _vectors(width, wanted, rows, random)
    literals = [leaf for tree in trees for leaf in _literals(tree)]
    tested = gaps and "shape" not in column and any(_tests_missing(tree) for tree in trees)
    if column["type"] in DATES:
        return _moments(column["type"], wanted.gaps or tested, literals, rows, random)
    values: list[Any]
    if column["type"] in LISTS:
        return _lists(column["type"], wanted, rows, random)
    if wanted.separator is not None:
        values = _many(wanted, rows, random)
    elif wanted.listed:
        values = [wanted.listed[i] for i in _covering(len(wanted.listed), rows, random)]
    elif known and column["type"] == "string":
        values = [known[i] for i in _covering(len(known), rows, random)]
    elif column["type"] == "string":
        values = _texts(wanted, [x for x in literals if isinstance(x, str)], rows, random)
    else:
        numbers = [float(x) for x in literals if not isinstance(x, str)]
        values = _numbers(column, wanted, numbers, bool(trees), rows, random, scale)
    if wanted.gaps or tested:
        absent = random.random(rows) < GAPS
        values = [None if gone else value for value, gone in zip(values, absent, strict=True)]
    return pa.array([_as(column["type"], value) for value in values], _arrow(column["type"]))


class _Wanted:
    """What raw values the encoders of a column ask for, taken together.

    Attributes:
        listed: values to cover: those that a lookup knows, and one it does not where it has a default.
        anchors: numbers to lie around.
        distinct: how many different values tell something; None where no encoder says.
        separator: between the values of a row, where there are many.
        gaps: whether some may be missing.
    """

    def __init__(self, encoders: Iterable[EncoderSettings]) -> None:
        self.listed: Sequence[Any] = ()
        self.anchors: Sequence[float] = ()
        self.distinct: int | None = None
        self.separator: str | None = None
        self.gaps = False
        for settings in encoders:
            encoder = record(settings)
            suits = encoder.suits(settings) if encoder.suits is not None else Suits()
            self.listed = self.listed or _listed(encoder, settings) or suits.listed
            self.anchors = self.anchors or suits.anchors
            self.distinct = self.distinct or (suits.distinct and min(suits.distinct, MOST_DISTINCT))
            self.separator = self.separator or suits.separator
            self.gaps = self.gaps or encoder.allows_missing(settings)


def _listed(encoder: Encoder, settings: EncoderSettings) -> Sequence[Any]:
    if encoder.lookup is None:
        return ()
    values = encoder.lookup.values(settings)
    if settings.get(DEFAULT) is None or not values:
        return values
    whole = isinstance(values, range) or all(isinstance(value, int) for value in values)
    return [*values, max(values) + 1 if whole else "unlisted"]


def _vectors(width: int, wanted: _Wanted, rows: int, random: np.random.Generator) -> pa.Array:
    """Normal vectors [rows, width], some of them missing where that may be."""
    flat = pa.array(random.normal(0.0, 1.0, rows * width))
    absent = pa.array(random.random(rows) < (GAPS if wanted.gaps else 0.0))
    return pa.FixedSizeListArray.from_arrays(flat, width, mask=absent)


def _lists(type: str, wanted: _Wanted, rows: int, random: np.random.Generator) -> pa.Array:
    """Lists of some of the values that encoders know [rows], a few of them missing."""
    text_like = type == "list(string)"
    listed = [*wanted.listed] or [*range(wanted.distinct or DISTINCT)]
    listed = [text(value) if text_like else int(value) for value in listed]
    firsts = _covering(len(listed), rows, random)
    values: list[Any] = []
    for first, count in zip(firsts, random.integers(0, 5, rows), strict=True):
        more = random.integers(0, len(listed), max(int(count) - 1, 0))
        values.append([listed[i] for i in (first, *more)] if count else None)
    return pa.array(values, _arrow(type))


def _moments(
    type: str, gaps: bool, literals: Sequence[Any], rows: int, random: np.random.Generator
) -> pa.Array:
    """Dates or timestamps [rows], around those that they are compared with."""
    around = [int(value) // DAY for value in literals if is_whole(value) and abs(value) > DAY]
    days = random.integers(FROM, TO, rows)
    if around:
        days = random.choice(around, rows) + random.integers(-500, 500, rows)
    absent = random.random(rows) < (GAPS if gaps else 0.0)
    if type == "date":
        return pa.array(days.astype(np.int32), pa.int32(), mask=absent).cast(pa.date32())
    moments = days * DAY + random.integers(0, DAY, rows)
    return pa.array(moments, pa.int64(), mask=absent).cast(pa.timestamp("us"))


def _as(type: str, value: Any) -> Any:
    if value is None:
        return None
    if type == "bool":
        return bool(int(value) % 2)
    return text(value) if type == "string" else int(value) if type == "int" else float(value)


def _covering(count: int, rows: int, random: np.random.Generator) -> list[int]:
    """Positions below `count`, each at least once if there are rows enough."""
    first = random.permutation(count)[:rows]
    rest = random.integers(0, count, rows - len(first))
    return [int(i) for i in random.permutation(np.concatenate([first, rest]))]


def _many(wanted: _Wanted, rows: int, random: np.random.Generator) -> list[str]:
    separator = wanted.separator
    assert separator is not None, "there is something between many values"
    listed = [text(v) for v in wanted.listed] or [f"v{i}" for i in range(wanted.distinct or DISTINCT)]
    listed = [value for value in listed if value and separator not in value]
    firsts = _covering(len(listed), rows, random)
    texts = []
    for first, count in zip(firsts, random.integers(0, 5, rows), strict=True):
        more = random.integers(0, len(listed), max(int(count) - 1, 0))
        chosen = dict.fromkeys([first, *(int(i) for i in more)])
        texts.append(separator.join(listed[i] for i in chosen) if count else "")
    return texts


def _texts(wanted: _Wanted, literals: Sequence[str], rows: int, random: np.random.Generator) -> list[str]:
    if literals:
        listed = [*literals, "unlisted"]
        return [listed[i] for i in _covering(len(listed), rows, random)]
    return [f"v{i}" for i in random.integers(0, wanted.distinct or DISTINCT, rows)]


def _numbers(
    column: ColumnJson,
    wanted: _Wanted,
    literals: Sequence[float],
    derives: bool,
    rows: int,
    random: np.random.Generator,
    scale: float,
) -> list[float]:
    whole = kind_of(column["type"]) == "int"
    values: NDArray[np.floating[Any]]
    if wanted.distinct is not None:
        return [float(i) for i in random.integers(0, wanted.distinct, rows)]
    anchors = list(wanted.anchors or literals)
    if anchors:
        spread = max(2.0 * scale, (max(anchors) - min(anchors)) / len(anchors))
        values = random.choice(anchors, rows) + random.uniform(-spread, spread, rows)
    elif column["kind"] == "weight":
        values = random.uniform(0.0, 2.0 * scale, rows)
    elif column["kind"] == "label" or (derives and not column.get("encoders")):
        # A label as it stands: 0 and 1 suit every loss, and any number of classes.
        values = random.integers(0, min(int(column.get("rows") or 2), 1000), rows).astype(float)
        values = values if scale == 1.0 else 1.0 + random.integers(0, int(scale), rows)
    elif whole:
        values = random.integers(0, int(10 * scale), rows).astype(float)
    else:
        values = random.normal(0.0, scale, rows)
    return [float(v) for v in (np.rint(values) if whole else values)]


def _literals(tree: ExpressionTree) -> Iterator[Any]:
    for name in ("number", "string"):
        if name in tree:
            yield tree[name]
    for argument in tree.get("args", ()):
        yield from _literals(argument)


def _tests_missing(tree: ExpressionTree) -> bool:
    return tree.get("call") == "is_missing" or any(_tests_missing(a) for a in tree.get("args", ()))
