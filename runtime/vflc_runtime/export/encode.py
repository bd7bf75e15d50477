"""Raw rows to the inputs of an exported model. Needs Python and its standard library, and nothing else.

    python encode.py MODEL.json ROWS.jsonl > INPUTS.json

reads what `vflc export` wrote beside a model, and rows: JSON objects, one a line, by the columns' names
(`Age`, or `alice.Age` where two parties have a column of one name). It writes the model's inputs by
name, as nested lists of the type and shape that MODEL.json names. Instead of ROWS.jsonl a `.csv` file
will do, in which empty fields are missing values.

This is also the reference for whoever writes an encoder in another language: docs/exports.md describes
each step, and this file does it. It shares no code with vflc.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

MASK = 2**64 - 1
MISSING = -(2**63)
"""What a missing whole number is given as, where the model takes whole numbers."""


class Refused(Exception):
    """A value that the model was not trained for; the message names its column."""


def encode(description: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The inputs of a model, each a list with an item a row.

    Args:
        description: what stands beside the model, read as JSON.
        rows: of each row its raw values by the column's name; what is absent or None is missing.

    Raises:
        Refused: a value is unknown or missing and the spec says nothing about such values, or is not
            of the column's type.
    """
    rows = list(rows)
    inputs: dict[str, list[Any]] = {}
    for given in description["inputs"]:
        if "column" not in given:
            continue  # what another model leaves
        values = [_row(given, row) for row in rows]
        if given["shape"][1:] == ["most"]:
            width = max([1, *map(len, values)])
            values = [value + [given["padding"]] * (width - len(value)) for value in values]
        inputs[given["name"]] = values
    return inputs


def _row(given: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
    """What the model is given for one row; all steps are done, so that what is refused has a name."""
    name = f"{given['party']}.{given['column']}"
    if given.get("computed") is not None:
        value = computed(given["computed"], given["reads"], lambda column: _raw(given["party"], column, row))
    else:
        value = _raw(given["party"], given["column"], row)
    value = typed(value, given["declared"], name)
    for step in given["before"]:
        value = _step(value, step, name)
    taken = value
    for step in given["inside"]:
        value = _step(value, step, name)
    if value is None:
        raise Refused(f"{name} has no value")
    if given["rows"] is not None:
        _check_ids(value, given["rows"], name)
    return _as_given(taken, given)


def _raw(party: str, column: str, row: Mapping[str, Any]) -> Any:
    return row[f"{party}.{column}"] if f"{party}.{column}" in row else row.get(column)


def _check_ids(value: Any, rows: int, name: str) -> None:
    for one in value if isinstance(value, list) else [value]:
        if one != math.floor(one) or not 0 <= one < rows:
            raise Refused(f"{name} is {one!r}, which is no id from 0 to {rows - 1}")


def _as_given(value: Any, given: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        length = given["shape"][1]
        return value + [given["padding"]] * (length - len(value)) if isinstance(length, int) else value
    if value is None:
        return {"string": "", "int64": MISSING}.get(given["type"], math.nan)
    if given["type"].startswith("float"):
        value = float(value)
    elif given["type"].startswith("int"):
        value = int(value)
    return [value] if len(given["shape"]) == 2 else value


# --- types ------------------------------------------------------------------------------------------

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
ABSENT = {"", "nan", "inf", "+inf", "-inf", "infinity", "-infinity"}


def typed(value: Any, declared: str, name: str) -> Any:
    """A value as text, a whole number or a number, as its column is declared; None where missing."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or declared == "string":
        return value if value is None else text_of(value)
    if isinstance(value, str):
        value = _number_in(value, name)
        if value is None:
            return None
    if declared == "float":
        return float(value)
    if value != int(value) or not -(2**63) <= value < 2**63:
        raise Refused(f"{name} is {value!r}, and is to be a whole number of 64 bits")
    return int(value)


def text_of(value: Any) -> str:
    """The one text of a value: text in Unicode's form NFC, numbers by what they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e38 else repr(value)
    return unicodedata.normalize("NFC", str(value))


def _number_in(text: str, name: str) -> int | float | None:
    text = text.strip(" ")
    if text.lower() in ABSENT:
        return None
    if NUMBER.fullmatch(text) is None:
        raise Refused(f"{name} is {text!r}, and is to be a number")
    if re.fullmatch("[+-]?[0-9]+", text):
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None


# --- steps ------------------------------------------------------------------------------------------

EncodeStep = Mapping[str, Any]


def _step(value: Any, step: EncodeStep, name: str) -> Any:
    """One step on a value, on each of several, or on a missing one."""
    if step["name"] == "split":
        return [piece for piece in (value or "").split(step["separator"]) if piece]
    if step["name"] == "sequence":
        return value[-step["max"] :]
    if isinstance(value, list):
        return [_step(one, step, name) for one in value]
    if step["name"] == "missing":
        return step["value"] if value is None else value
    if step["name"] in LOOKUPS:
        return _looked_up(value, step, name)
    if value is None:
        return None
    made = STEPS[step["name"]](value, step)
    return None if isinstance(made, float) and not math.isfinite(made) else made


def strip(text: str, step: EncodeStep) -> str:
    """Without white space at its ends: the code points for which Unicode's White_Space holds, and U+001C to
    U+001F, as `str.strip` has it."""
    return text.strip()


def lower(text: str, step: EncodeStep) -> str:
    """Each code point by itself by its simple lower-case mapping: no rules for the ends of words, and
    U+0130 becomes `i`."""
    return "".join(c.lower()[0] for c in text)


def hash_(value: Any, step: EncodeStep) -> int:
    """A text's bytes in UTF-8, or a whole number's decimal digits, hashed, modulo the buckets."""
    data, salt = str(value).encode(), step.get("salt")
    if salt is None:
        return fingerprint64(data) % int(step["buckets"])
    low, high = salt if isinstance(salt, list) else (salt, salt)
    return siphash(data, low, high) % int(step["buckets"])


def _looked_up(value: Any, step: EncodeStep, name: str) -> int | None:
    """A position in the vocabulary, with the default for what is unknown or missing."""
    default = step.get("default")
    at = None if value is None else LOOKUPS[step["name"]](value, step)
    if at is not None:
        return at + 1 if default == "other" else at
    if default == "other":
        return 0
    if default is not None:
        listed = step["values"].index if step["name"] == "vocab" else int
        return int(listed(default["value"]))
    if value is not None:
        raise Refused(f"{name} is {value!r}, which its {step['name']} does not list")
    return None


def vocab(value: Any, step: EncodeStep) -> int | None:
    """The position among the values: compared as text where either is text, otherwise as numbers."""
    listed = step["values"]
    if isinstance(value, str) or isinstance(listed[0], str):
        value, listed = str(value), [str(one) for one in listed]
    return listed.index(value) if value in listed else None


def index(value: Any, step: EncodeStep) -> int | None:
    """A whole number from 0 to n - 1 as it is."""
    return int(value) if 0 <= value < step["n"] else None


def bucketize(value: float, step: EncodeStep) -> int:
    """How many edges are at most the value."""
    return sum(edge <= value for edge in step["edges"])


LOOKUPS: dict[str, Callable[[Any, EncodeStep], int | None]] = {"vocab": vocab, "index": index}
STEPS: dict[str, Callable[[Any, EncodeStep], Any]] = {
    "strip": strip,
    "lower": lower,
    "hash": hash_,
    "bucketize": lambda x, step: bucketize(float(x), step),
    "standardize": lambda x, step: (float(x) - step["mean"]) / step["std"],
    "minmax": lambda x, step: (float(x) - step["low"]) / (step["high"] - step["low"]),
    "log1p": lambda x, step: math.copysign(math.log1p(abs(float(x))), float(x)),
    "scale": lambda x, step: float(x) * step["factor"],
    "clip": lambda x, step: min(max(float(x), step["low"]), step["high"]),
}


# --- columns that are computed ------------------------------------------------------------------------


def computed(tree: Mapping[str, Any], reads: Mapping[str, str], raw: Callable[[str], Any]) -> Any:
    """An expression over raw columns. Arithmetic is in doubles; what is missing, no finite number or a
    division by zero makes the whole missing; `and` and `or` know better where one side decides."""
    if "column" in tree:
        return typed(raw(tree["column"]), reads[tree["column"]], tree["column"])
    for literal in ("number", "string"):
        if literal in tree:
            return tree[literal]
    arguments = [computed(argument, reads, raw) for argument in tree["args"]]
    name = tree.get("op") or tree["call"]
    if name == "is_missing":
        return arguments[0] is None
    if name in ("and", "or"):
        return _decided(name == "or", arguments)
    if any(argument is None for argument in arguments):
        return None
    if name in TEXT:
        return TEXT[name](arguments[0], {})
    if name in COMPARED:
        return COMPARED[name](*arguments)
    try:
        value = NUMBERS[name](*(float(argument) for argument in arguments))
    except (ZeroDivisionError, OverflowError, ValueError):
        return None
    return value if not isinstance(value, complex) and math.isfinite(value) else None


def _decided(deciding: bool, arguments: list[Any]) -> bool | None:
    truths = [None if argument is None else bool(argument) for argument in arguments]
    if deciding in truths:
        return deciding
    return None if None in truths else not deciding


TEXT: dict[str, Callable[[str, EncodeStep], str]] = {"strip": strip, "lower": lower}
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
NUMBERS: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: float(math.floor(a / b)),
    "%": lambda a, b: a - b * math.floor(a / b),
    "**": lambda a, b: a**b,
    "neg": lambda a: -a,
    "not": lambda a: not a,
    "floor": lambda a: float(math.floor(a)),
    "abs": abs,
    "log": math.log,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "round": lambda a: float(round(a)),
}


# --- hashes -------------------------------------------------------------------------------------------

K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def _word(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _rotated(x: int, bits: int) -> int:
    """To the right."""
    return (x >> bits | x << 64 - bits) & MASK


def _mixed(x: int) -> int:
    return x ^ x >> 47


def _hash16(u: int, v: int, mul: int) -> int:
    a = _mixed((u ^ v) * mul & MASK)
    return _mixed((v ^ a) * mul & MASK) * mul & MASK


def fingerprint64(data: bytes) -> int:
    """FarmHash's Fingerprint64 (Pike & Alakuijala, Google, 2014): farmhashna's Hash64."""
    n = len(data)
    mul = (K2 + n * 2) & MASK
    if n <= 16:
        return _to_16(data, n, mul)
    if n <= 32:
        a, b = _word(data, 0) * K1 & MASK, _word(data, 8)
        c, d = _word(data, n - 8) * mul & MASK, _word(data, n - 16) * K2 & MASK
        first = _rotated((a + b) & MASK, 43) + _rotated(c, 30) + d
        return _hash16(first & MASK, (a + _rotated((b + K2) & MASK, 18) + c) & MASK, mul)
    if n <= 64:
        return _to_64(data, n, mul)
    return _long(data, n)


def _to_16(data: bytes, n: int, mul: int) -> int:
    if n >= 8:
        a, b = (_word(data, 0) + K2) & MASK, _word(data, n - 8)
        c = (_rotated(b, 37) * mul + a) & MASK
        return _hash16(c, (_rotated(a, 25) + b) * mul & MASK, mul)
    if n >= 4:
        return _hash16(n + (_word(data, 0, 4) << 3), _word(data, n - 4, 4), mul)
    if n > 0:
        y, z = data[0] + (data[n >> 1] << 8), n + (data[n - 1] << 2)
        return _mixed((y * K2 ^ z * K0) & MASK) * K2 & MASK
    return K2


def _to_64(data: bytes, n: int, mul: int) -> int:
    a, b = _word(data, 0) * K2 & MASK, _word(data, 8)
    c, d = _word(data, n - 8) * mul & MASK, _word(data, n - 16) * K2 & MASK
    y = (_rotated((a + b) & MASK, 43) + _rotated(c, 30) + d) & MASK
    z = _hash16(y, (a + _rotated((b + K2) & MASK, 18) + c) & MASK, mul)
    e, f = _word(data, 16) * mul & MASK, _word(data, 24)
    g, h = (y + _word(data, n - 32)) * mul & MASK, (z + _word(data, n - 24)) * mul & MASK
    first = _rotated((e + f) & MASK, 43) + _rotated(g, 30) + h
    return _hash16(first & MASK, (e + _rotated((f + a) & MASK, 18) + g) & MASK, mul)


def _weak(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_word(data, at + 8 * i) for i in range(4))
    a = (a + w) & MASK
    b = _rotated((b + a + z) & MASK, 21)
    c, a = a, (a + x + y) & MASK
    b = (b + _rotated(a, 44)) & MASK
    return (a + z) & MASK, (b + c) & MASK


def _long(data: bytes, n: int) -> int:
    seed = 81
    x, y = seed, (seed * K1 + 113) & MASK
    z = _mixed((y * K2 + 113) & MASK) * K2 & MASK
    v, w = (0, 0), (0, 0)
    x = (x * K2 + _word(data, 0)) & MASK
    end = (n - 1) // 64 * 64
    for at in range(0, end, 64):
        x = _rotated((x + y + v[0] + _word(data, at + 8)) & MASK, 37) * K1 & MASK
        y = _rotated((y + v[1] + _word(data, at + 48)) & MASK, 42) * K1 & MASK
        x, y = x ^ w[1], (y + v[0] + _word(data, at + 40)) & MASK
        z = _rotated((z + w[0]) & MASK, 33) * K1 & MASK
        v = _weak(data, at, v[1] * K1 & MASK, (x + w[0]) & MASK)
        w = _weak(data, at + 32, (z + w[1]) & MASK, (y + _word(data, at + 16)) & MASK)
        x, z = z, x
    mul, at = (K1 + ((z & 0xFF) << 1)) & MASK, n - 64
    w = ((w[0] + (n - 1 & 63)) & MASK, w[1])
    v = ((v[0] + w[0]) & MASK, v[1])
    w = ((w[0] + v[0]) & MASK, w[1])
    x = _rotated((x + y + v[0] + _word(data, at + 8)) & MASK, 37) * mul & MASK
    y = _rotated((y + v[1] + _word(data, at + 48)) & MASK, 42) * mul & MASK
    x, y = x ^ w[1] * 9 & MASK, (y + v[0] * 9 + _word(data, at + 40)) & MASK
    z = _rotated((z + w[0]) & MASK, 33) * mul & MASK
    v = _weak(data, at, v[1] * mul & MASK, (x + w[0]) & MASK)
    w = _weak(data, at + 32, (z + w[1]) & MASK, (y + _word(data, at + 16)) & MASK)
    x, z = z, x
    first = _hash16(v[0], w[0], mul) + _mixed(y) * K0 + z
    return _hash16(first & MASK, (_hash16(v[1], w[1], mul) + x) & MASK, mul)


def siphash(data: bytes, low: int, high: int) -> int:
    """SipHash-2-4 under the key of 16 bytes `low`, `high`, each little-endian (Aumasson and
    Bernstein, 2012)."""
    a, b = low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D
    c, d = low ^ 0x6C7967656E657261, high ^ 0x7465646279746573
    last = data[len(data) // 8 * 8 :].ljust(7, b"\0") + bytes([len(data) & 255])
    words = [_word(data, at) for at in range(0, len(data) // 8 * 8, 8)] + [_word(last, 0)]
    for word in words:
        a, b, c, d = _rounds(a, b, c, d ^ word, 2)
        a ^= word
    a, b, c, d = _rounds(a, b, c ^ 255, d, 4)
    return a ^ b ^ c ^ d


def _rounds(a: int, b: int, c: int, d: int, count: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        a, c = (a + b) & MASK, (c + d) & MASK
        b, d = _rotated(b, 51) ^ a, _rotated(d, 48) ^ c
        a = _rotated(a, 32)
        c, a = (c + b) & MASK, (a + d) & MASK
        b, d = _rotated(b, 47) ^ c, _rotated(d, 43) ^ a
        c = _rotated(c, 32)
    return a, b, c, d


# --- as a program -------------------------------------------------------------------------------------


def _rows(path: str) -> list[dict[str, Any]]:
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        if path.endswith(".csv"):
            return [{name: text or None for name, text in row.items()} for row in csv.DictReader(file)]
        return [json.loads(line) for line in file if line.strip()]


def main(arguments: list[str]) -> int:
    """Exit status 0, 1 where a value is refused, 2 where it is called otherwise than it says above."""
    if len(arguments) != 2:
        print("usage: python encode.py MODEL.json ROWS.jsonl", file=sys.stderr)
        return 2
    description = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    try:
        json.dump(encode(description, _rows(arguments[1])), sys.stdout, ensure_ascii=False)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
