"""Ids of listed values."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from vflc_common.arrow import pa, pc
from vflc_common.encoder import (
    DEFAULT,
    FILE,
    MOST_IDS,
    OTHER,
    SHA256,
    SIZE,
    VALUE,
    Encoder,
    EncoderParameter,
    EncoderSettings,
    Fit,
    Lookup,
    Python,
    Suits,
    lookup_default,
    of_file,
    whole,
)
from vflc_common.encoding import MISSING, of_lookup
from vflc_common.text import text

if TYPE_CHECKING:
    from vflc_common.backends import KerasBuilder, OnnxBuilder


KEPT = ("name", "values", DEFAULT)
"""Settings that count once the values are known."""
IN_FILE = 'values in a file are vocab("values.txt"), with nothing beside it but sha256, size and default'


def wrong(settings: EncoderSettings, kind: str) -> str | None:
    values, most = settings["values"], settings.get("max")
    if settings.get(FILE) is not None:
        given = None not in (settings.get(SHA256), settings.get(SIZE))
        return None if given and values is most is settings.get("min_count") is None else IN_FILE
    if settings.get(SHA256) is not None or settings.get(SIZE) is not None:
        return IN_FILE
    if most is not None:
        if values is not None:
            return "a vocabulary lists its values, or is fitted: vocab(fit, max = 1000)"
        other = settings["default"] == OTHER
        return None if other else "a fitted vocabulary is `vocab(fit, max = …)`, and its default `other`"
    if values is None:
        what = ": vocab(fit, max = 1000)" if settings["default"] else ', as vocab("a", "b"), or `fit`'
        return f"`vocab` needs values{what}"
    if settings.get("min_count") is not None:
        return "`min_count` is for a fitted vocabulary: vocab(fit, max = 1000, min_count = 10)"
    if len(set(values)) != len(values):
        return "the vocabulary has a value twice"
    if len(values) == 1 and settings["default"] is None:
        return (
            "a vocabulary of one value; list the values, as in vocab(1..5), or say how many there are "
            "by index(100) or hash(100)"
        )
    if len({isinstance(value, str) for value in values}) != 1:
        return "a vocabulary must be all text or all numbers"
    return None


class Counted:
    """How often each value of a column occurs, whatever the order of the rows."""

    def __init__(self) -> None:
        self.count, self._times = 0, Counter[str | int]()

    def add(self, values: pa.Array) -> None:
        """Takes in some more values [n], none of which is missing."""
        self.count += len(values)
        found = pc.value_counts(values)
        self._times.update(dict(zip(*(part.to_pylist() for part in found.flatten()), strict=True)))

    def most(self, count: int, least: int) -> list[str | int]:
        """The most frequent values, the more frequent first, equally frequent ones in their own order."""
        often = [(-times, value) for value, times in self._times.items() if times >= least]
        return [value for _, value in sorted(often)[:count]]


def find(flat: pa.Array, settings: EncoderSettings) -> pa.Array:
    """From values [values] to their places in the list [values], int64; null where it has no such value."""
    listed = list(settings["values"])
    if pa.types.is_string(flat.type) or isinstance(listed[0], str):
        flat, known = flat.cast(pa.string()), pa.array([text(value) for value in listed], pa.string())
    elif pa.types.is_floating(flat.type) or any(isinstance(value, float) for value in listed):
        flat, known = flat.cast(pa.float64(), safe=False), pa.array([float(value) for value in listed])
    else:
        known = pa.array([int(value) for value in listed], pa.int64())
    return pc.index_in(flat, value_set=known, skip_nulls=True).cast(pa.int64())


def vocab(value: Any, step: EncoderSettings) -> int | None:
    """The position among the values: compared as text where either is text, otherwise as numbers."""
    listed = step["values"]
    if isinstance(value, str) or isinstance(listed[0], str):
        value, listed = text(value), [text(one) for one in listed]
    return listed.index(value) if value in listed else None


def not_exported(settings: EncoderSettings, type: str) -> str | None:
    if type == "int" and any(isinstance(value, float) for value in settings["values"]):
        return "whole numbers are looked up among fractions"
    return None


def keys(settings: EncoderSettings, type: str) -> list[Any]:
    """The listed values as a column of this type has them; whole numbers may be listed as text."""
    if type == "string":
        return [text(value) for value in settings["values"]]
    texts = [text(int(value) if isinstance(value, bool) else value) for value in settings["values"]]
    return [int(key) for key in texts if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", key)]


def onnx(g: OnnxBuilder, value: str, settings: EncoderSettings) -> str:
    whole = g.raw.type == "int"
    known = keys(settings, g.raw.type)
    ids = dict(zip(known, g.raw.ids_of(settings, known), strict=True))
    if g.raw.many:
        ids[""] = -1
    unknown = None if whole else _unlisted([*ids])
    attributes: dict[str, Any] = {
        "keys_int64s" if whole else "keys_strings": list(ids),
        "values_int64s": list(ids.values()),
        "default_int64": g.raw.id_of(settings, unknown),
    }
    return g("LabelEncoder", value, domain="ai.onnx.ml", **attributes)


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    """A lookup, whose positions are the ids; where they are not (0 is unknown), they are read as these."""
    whole = k.raw.type == "int"
    known = keys(settings, k.raw.type)
    if not k.raw.many and settings["default"] in (None, OTHER) and len(known) == len(settings["values"]):
        return _plain(k, value, known, unknown=settings["default"] == OTHER)
    ids = k.raw.ids_of(settings, known)
    if whole or (k.raw.many and "" not in known):
        known = [*known, MISSING if whole else ""]
        ids = [*ids, k.raw.id_of(settings, None) if whole else -1]
    elif k.raw.many:
        ids[known.index("")] = -1
    unknown = k.raw.id_of(settings, _unlisted(known))
    common = {"vocabulary": known, "num_oov_indices": 1, "mask_token": None, "name": k.name("lookup")}
    if whole:
        position = k.layers.IntegerLookup(oov_token=MISSING + 1, **common)(value)
    else:
        position = k.layers.StringLookup(**common)(value)
    return k.ops.take(k.constant([unknown, *ids], "int32"), position, axis=0)


def _plain(k: KerasBuilder, value: Any, known: list[Any], unknown: bool) -> Any:
    """A lookup as everyone writes it. Without an id for unknown values it refuses them."""
    common = {"num_oov_indices": int(unknown), "mask_token": None, "name": k.name("lookup")}
    if not isinstance(known[0], int):
        return k.layers.StringLookup(vocabulary=known, **common)(value)
    free = next(x for x in range(-1, -len(known) - 2, -1) if x not in known)
    return k.layers.IntegerLookup(vocabulary=known, oov_token=free, **common)(value)


def _unlisted(known: list[Any]) -> Any:
    """A value that is none of the keys."""
    if isinstance(known[0], str):
        return max(known, key=len) + "?"
    return next(number for number in range(len(known) + 1) if number not in known)


def suits(settings: EncoderSettings) -> Suits:
    """So few values that each of them may be as frequent as it has to be."""
    if settings.get("max") is None:
        return Suits()
    return Suits(distinct=min(settings["max"], 20 if (settings["min_count"] or 1) <= 10 else 2))


ENCODER = Encoder(
    name="vocab",
    doc="The value's position among `values`, from 0. Ranges stand for their numbers: `vocab(0..20)`. "
    "`vocab(fit, max = 5000, min_count = 10)` takes the most frequent values of the party's aligned training "
    "rows, at most `max`, each of which occurs `min_count` times; all others are 0. "
    '`vocab("stores.txt")` takes the lines of a file beside the spec; with its `sha256` and `size`, other '
    "parties need not have it.",
    step="the position in `values`, from 0; compared as text where the value or the first of `values` is "
    "text, otherwise as numbers",
    reads=("string", "int", "strings", "ints"),
    gives="id",
    parameters=(
        EncoderParameter("values", VALUE, many=True),
        EncoderParameter("max", whole(1, MOST_IDS - 1)),
        EncoderParameter("min_count", whole(1, MOST_IDS)),
        *of_file,
        lookup_default,
    ),
    words={"fit": (DEFAULT, OTHER)},
    wrong=wrong,
    python=Python(vocab, "lookup"),
    encode=of_lookup(find, lambda settings, value: list(settings["values"]).index(value)),
    dear=True,
    lookup=Lookup(
        values=lambda settings: list(settings["values"] or ()),
        called=lambda settings: f"vocab of {len(settings['values'])} values",
        help=lambda settings: "add the values",
        room=lambda settings: settings.get("max") or (None if settings["values"] else settings.get(SIZE)),
    ),
    fit=Fit(
        start=Counted,
        result=lambda counted, settings: {
            "values": counted.most(settings["max"], settings["min_count"] or 1)
        },
        settled=lambda settings: {**dict.fromkeys(settings), **{name: settings.get(name) for name in KEPT}},
        neutral={"values": None},
        needed=lambda settings: settings.get("max") is not None,
        of="values",
    ),
    suits=suits,
    not_exported=not_exported,
    onnx=onnx,
    keras=keras,
    known_as={"category categorical lookup stringlookup": 'write vocab("a", "b"), or hash(1000)'},
)
