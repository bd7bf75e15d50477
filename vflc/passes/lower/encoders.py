"""Encoder chains: what each encoder reads and gives, and its arguments, as plain data."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from msgspec import Struct
from vflc_common.words import COLUMN_TYPES

from vflc.diagnostics.suggest import did_you_mean
from vflc.passes.lower import foreign
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.values import Poison, Scope, describe
from vflc.syntax import tree

MOST_IDS = 2**31 - 1
LONGEST = 100_000
"""Values of a row that a sequence may keep."""


class EncoderRule(Struct, frozen=True):
    """What an encoder reads and gives. `gives` "same" keeps the kind.

    Kinds: `string`, `int`, `float`, `strings` (many a row), `id`, `ids`.
    """

    reads: tuple[str, ...]
    gives: Callable[[str], str]
    parameters: tuple[str, ...]
    required: int = 0
    variadic: bool = False


def _same(kind: str) -> str:
    return kind


def _ids(kind: str) -> str:
    return "ids" if kind == "strings" else "id"


def _float(kind: str) -> str:
    return "float"


ENCODERS: dict[str, EncoderRule] = {
    "missing": EncoderRule(COLUMN_TYPES, _same, ("value",), 1),
    "strip": EncoderRule(("string", "strings"), _same, ()),
    "lower": EncoderRule(("string", "strings"), _same, ()),
    "split": EncoderRule(("string",), lambda kind: "strings", ("separator",), 1),
    "hash": EncoderRule(("string", "int", "strings"), _ids, ("buckets", "salt"), 1),
    "vocab": EncoderRule(("string", "int", "strings"), _ids, ("values", "default"), 1, variadic=True),
    "index": EncoderRule(("int",), _ids, ("n", "default"), 1),
    "sequence": EncoderRule(("ids",), _same, ("max",), 1),
    "bucketize": EncoderRule(("int", "float"), lambda kind: "id", ("edges",), 1, variadic=True),
    "standardize": EncoderRule(("int", "float"), _float, ("mean", "std")),
    "minmax": EncoderRule(("int", "float"), _float, ("low", "high")),
    "log1p": EncoderRule(("int", "float"), _float, ()),
    "scale": EncoderRule(("int", "float"), _float, ("factor",), 1),
    "clip": EncoderRule(("int", "float"), _float, ("low", "high"), 2),
}


def lower_chain(
    ev: Evaluator, column: tree.Column, kind: str, scope: Scope
) -> tuple[list[dict[str, Any]] | None, str, int | None]:
    encoders: list[dict[str, Any]] = []
    rows: int | None = None
    for link in column.encoders:
        rule = ENCODERS.get(link.name.text)
        if rule is None:
            near = did_you_mean(link.name.text, ENCODERS)
            ev.error(
                "VFL0106",
                f"unknown encoder `{link.name.text}`",
                link.name.span,
                foreign.instead(foreign.ENCODERS, link.name.text)
                or (f"did you mean `{near}`?" if near else f"use one of: {', '.join(ENCODERS)}"),
            )
            return None, kind, None
        if kind not in rule.reads:
            text = f"`{link.name.text}` reads {' or '.join(rule.reads)}, but this is {kind}"
            ev.error("VFL0204", text, link.span, _chain_help(kind, link.name.text))
            return None, kind, None
        encoder = _encoder(ev, link, rule, scope)
        if encoder is None:
            return None, kind, None
        if encoder["name"] == "missing" and isinstance(encoder["value"], str) != (kind == "string"):
            wanted = "text" if kind == "string" else "a number"
            ev.error("VFL0204", f"the value for a missing {kind} must be {wanted}", link.span)
            return None, kind, None
        encoders.append(encoder)
        kind = rule.gives(kind)
        if kind in ("id", "ids") and encoder["name"] != "sequence":
            rows = _rows_of(encoder)
    return encoders, kind, rows


def _chain_help(kind: str, encoder: str) -> str:
    if encoder == "sequence":
        return (
            'put it after an encoder of several ids per row: split("|") -> hash(1000) -> sequence(max = 20)'
        )
    if kind in ("id", "ids"):
        return "end the chain here: no encoder can follow ids"
    if kind == "strings":
        return "use hash or vocab to turn several texts per row into ids"
    if encoder == "index":
        return "declare the column as int, or use hash or vocab"
    return "change the column's declared type, or the encoder"


def _encoder(ev: Evaluator, link: tree.Encoder, rule: EncoderRule, scope: Scope) -> dict[str, Any] | None:
    result: dict[str, Any] = {"name": link.name.text}
    rest: list[Any] = []
    for position, argument in enumerate(link.arguments):
        if argument.name is not None:
            name = argument.name.text
            if name not in rule.parameters:
                near = did_you_mean(name, rule.parameters)
                ev.error(
                    "VFL0107",
                    f"`{link.name.text}` has no argument `{name}`",
                    argument.name.span,
                    f"did you mean `{near}`?" if near else None,
                )
                return None
        elif rule.variadic:
            name = rule.parameters[0]
        elif position < len(rule.parameters):
            name = rule.parameters[position]
        else:
            ev.error("VFL0107", f"`{link.name.text}` takes {len(rule.parameters)} arguments", argument.span)
            return None
        value = _constant(ev, argument.value, scope)
        if isinstance(value, Poison):
            return None
        if rule.variadic and name == rule.parameters[0]:
            rest.extend(value if isinstance(value, list) else [value])
        else:
            result[name] = value
    if rule.variadic:
        result[rule.parameters[0]] = rest
    missing = [name for name in rule.parameters[: rule.required] if result.get(name) in (None, [])]
    if missing:
        ev.error("VFL0107", f"`{link.name.text}` needs `{missing[0]}`", link.span)
        return None
    for name in rule.parameters:
        result.setdefault(name, None)
    wrong = _check(result)
    if wrong:
        ev.error("VFL0205", wrong, link.span)
        return None
    return result


def _constant(ev: Evaluator, expr: tree.Expr, scope: Scope) -> Any:
    if isinstance(expr, tree.Ref) and expr.name == "other" and scope.find("other") is None:
        return {"other": True}
    value = _composed(ev.evaluate(expr, scope))
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, (int, float, str, Poison)):
            return ev.error(
                "VFL0203",
                f"an encoder's argument must be a number or text; this is {describe(item)}",
                expr.span,
            )
    return value


def _composed(value: Any) -> Any:
    """Texts in the form that those of tables are brought into: see `vflc_runtime.data.values`."""
    if isinstance(value, list):
        return [_composed(item) for item in value]
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _check(encoder: dict[str, Any]) -> str | None:
    """What is wrong with an encoder's arguments; normalises `default` on the way."""
    name = encoder["name"]
    for key in ("buckets", "n"):
        if key in encoder and not (_whole(encoder[key]) and 1 <= encoder[key] <= MOST_IDS):
            return f"`{key}` of `{name}` must be a whole number from 1 to {MOST_IDS:,}"
    if name == "sequence" and not (_whole(encoder["max"]) and 1 <= encoder["max"] <= LONGEST):
        return f"`max` of `sequence` must be a whole number from 1 to {LONGEST:,}"
    if name == "vocab":
        values = encoder["values"]
        if len(set(values)) != len(values):
            return "the vocabulary has a value twice"
        if len(values) == 1 and encoder["default"] is None:
            return (
                "a vocabulary of one value; list the values, as in vocab(1..5), or say how many there are "
                "by index(100) or hash(100)"
            )
        if len({isinstance(v, str) for v in values}) != 1:
            return "a vocabulary must be all text or all numbers"
    if name == "bucketize":
        edges = encoder["edges"]
        if any(isinstance(e, str) for e in edges) or any(a >= b for a, b in pairwise(edges)):
            return "the edges of `bucketize` must be increasing numbers"
    if name == "split" and (not isinstance(encoder["separator"], str) or not encoder["separator"]):
        return "the separator of `split` must be text"
    numbers = [encoder.get(key) for key in ("mean", "std", "low", "high", "factor")]
    if any(v is not None and (isinstance(v, str) or not math.isfinite(v)) for v in numbers):
        return f"the arguments of `{name}` must be numbers"
    if name == "hash" and not _is_salt(encoder["salt"]):
        return "the salt of `hash` must be a whole number from 0 to 2**64 - 1, or a list of two"
    if encoder.get("std") is not None and encoder["std"] <= 0:
        return "`std` must be above 0"
    if (
        encoder.get("low") is not None
        and encoder.get("high") is not None
        and encoder["low"] >= encoder["high"]
    ):
        return "`low` must be below `high`"
    return _default(encoder)


def _default(encoder: dict[str, Any]) -> str | None:
    default = encoder.get("default")
    if default is None:
        return None
    if default == {"other": True}:
        encoder["default"] = "other"
        return None
    known = encoder["values"] if encoder["name"] == "vocab" else range(encoder["n"])
    if default not in known:
        return (
            f"the default must be one of the values, or `other` for an id of its own; {default!r} is neither"
        )
    encoder["default"] = {"value": default}
    return None


def _is_salt(salt: Any) -> bool:
    """Keras takes one number or a pair, of 64 bits each; none is the plain hash."""
    if salt is None:
        return True
    parts = salt if isinstance(salt, list) and len(salt) == 2 else [salt]
    return all(_whole(part) and 0 <= part < 2**64 for part in parts)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _rows_of(encoder: dict[str, Any]) -> int:
    count = {"hash": "buckets", "index": "n"}.get(encoder["name"])
    if count is not None:
        rows = int(encoder[count])
    elif encoder["name"] == "vocab":
        rows = len(encoder["values"])
    else:
        return len(encoder["edges"]) + 1
    return rows + (encoder.get("default") == "other")
