"""Raw rows to the inputs of an exported model. Needs Python and its standard library, and nothing else.

    python encode.py MODEL.json ROWS.jsonl > INPUTS.json

reads what `vflc export` wrote beside a model, and rows: JSON objects, one a line, by the columns' names
(`Age`, or `alice.Age` where two parties have a column of one name). It writes the model's inputs by
name, as nested lists of the type and shape that MODEL.json names. Instead of ROWS.jsonl a `.csv` file
will do, in which empty fields are missing values.

This is also the reference for whoever writes an encoder in another language: docs/exports.md describes
each step, and this file does it.
"""

from __future__ import annotations

import csv
import datetime
import json
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

MISSING = -(2**63)
"""What a missing whole number is given as, where the model takes whole numbers."""


class RefusedValue(Exception):
    """A value that the model was not trained for; the message names its column."""


def encode(
    description: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], steps: EncodeSteps | None = None
) -> dict[str, list[Any]]:
    """The inputs of a model, each a list with an item a row.

    Args:
        description: what stands beside the model, read as JSON.
        rows: of each row its raw values by the column's name; what is absent or None is missing.
        steps: how encoders encode, where not as this file says.

    Raises:
        Refused: a value is unknown or missing and the spec says nothing about such values, or is not
            of the column's type.
    """
    rows = list(rows)
    inputs: dict[str, list[Any]] = {}
    lacking = [given for given in description["inputs"] if given["type"] == "bool"]
    has = {given["present"]: [_has(given, row, description) for row in rows] for given in lacking}
    inputs |= {given["name"]: [[one] for one in has[given["present"]]] for given in lacking}
    known = STEPS if steps is None else steps
    for given in description["inputs"]:
        if "column" not in given:
            continue  # what another model leaves
        there = has.get(given["party"]) or [True] * len(rows)
        values = [
            _row(given, row, known) if one else _nothing(given) for row, one in zip(rows, there, strict=True)
        ]
        if given["shape"][1:] == ["most"]:
            width = max([1, *map(len, values)])
            values = [value + [given["padding"]] * (width - len(value)) for value in values]
        inputs[given["name"]] = values
    return inputs


def _has(given: Mapping[str, Any], row: Mapping[str, Any], description: Mapping[str, Any]) -> bool:
    """Whether a party has a row: as the row says under the input's name, or if it has a value of it."""
    party, said = given["present"], row.get(given["name"])
    if said is not None:
        return bool(_truth(said, given["name"]))
    columns = [each for each in description["inputs"] if each.get("party") == party and "column" in each]
    names = [name for each in columns for name in (each.get("reads") or [each["column"]])]
    return any(_raw(party, name, row) is not None for name in names)


def _nothing(given: Mapping[str, Any]) -> Any:
    """What the model is given of a column in a row that the party lacks; it makes nothing of it."""
    value = {"string": "", "int64": MISSING}.get(given["type"], 0)
    size = given["shape"][1:]
    return [] if size == ["most"] else [value] * size[0] if size else value


def _row(given: Mapping[str, Any], row: Mapping[str, Any], steps: EncodeSteps) -> Any:
    """What the model is given for one row; all steps are done, so that what is refused has a name."""
    name = f"{given['party']}.{given['column']}"
    if given.get("computed") is not None:
        value = computed(given["computed"], given["reads"], lambda column: _raw(given["party"], column, row))
    else:
        value = _raw(given["party"], given["column"], row)
    if given.get("computed") is None or given["declared"] not in _READ:
        value = typed(value, given["declared"], name)
    for step in given["before"]:
        value = _step(value, step, name, steps)
    taken = value
    for step in given["inside"]:
        value = _step(value, step, name, steps)
    if value is None or (isinstance(value, list) and None in value):
        raise RefusedValue(f"{name} has no value")
    if given["rows"] is not None:
        _check_ids(value, given["rows"], name)
    return _as_given(taken, given)


def _raw(party: str, column: str, row: Mapping[str, Any]) -> Any:
    return row[f"{party}.{column}"] if f"{party}.{column}" in row else row.get(column)


def _check_ids(value: Any, rows: int, name: str) -> None:
    for one in value if isinstance(value, list) else [value]:
        if one != math.floor(one) or not 0 <= one < rows:
            raise RefusedValue(f"{name} is {one!r}, which is not an id from 0 to {rows - 1}")


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
    if declared.startswith("vector("):
        return _vector(value, int(declared[len("vector(") : -1]), name)
    if declared.startswith("list("):
        return _list(value, declared[len("list(") : -1], name)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if declared.startswith("float("):
        return typed(_without_comma(value, name) if isinstance(value, str) else value, "float", name)
    if value is not None and declared in _READ:
        return _READ[declared](value, name)
    if value is None or declared == "string":
        return value if value is None else text_of(value)
    if isinstance(value, str):
        value = _number_in(value, name)
        if value is None:
            return None
    if declared == "float":
        return float(value)
    if value != int(value) or not -(2**63) <= value < 2**63:
        raise RefusedValue(f"{name} is {value!r}, and is to be a whole number of 64 bits")
    return int(value)


def _vector(value: Any, width: int, name: str) -> list[float | None]:
    """The numbers of a vector, which is a list or, in a text file, one in brackets: `[1, 2.5]`."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except ValueError:
            raise RefusedValue(f"{name} is {value!r}, and is to be a list of {width} numbers") from None
    if value is None:
        return [None] * width
    if not isinstance(value, list) or len(value) != width:
        raise RefusedValue(f"{name} is {value!r}, and is to be a list of {width} numbers")
    return [typed(one, "float", name) for one in value]


def _list(value: Any, element: str, name: str) -> list[Any]:
    """The values of a list that are not missing; a missing list has none."""
    if value is not None and not isinstance(value, list):
        raise RefusedValue(f"{name} is {value!r}, and is to be a list")
    found = [typed(one, element, name) for one in value or []]
    return [one for one in found if one is not None]


COMMA = re.compile(r"[+-]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]*)(,[0-9]*)?([eE][+-]?[0-9]+)?")


def _without_comma(text: str, name: str) -> str:
    """`1.234,5` as `1234.5`."""
    text = text.strip(" ")
    if text.lower() in ABSENT:
        return text
    if COMMA.fullmatch(text) is None:
        raise RefusedValue(f"{name} is {text!r}, and is to be a number with a decimal comma")
    return text.replace(".", "").replace(",", ".")


TRUTH = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), 1),
    **dict.fromkeys(("false", "f", "no", "n", "0"), 0),
}


def _truth(value: Any, name: str) -> int | None:
    """Truth as 1 or 0."""
    written = value.strip(" ").lower() if isinstance(value, str) else value
    if isinstance(written, str) and written in ABSENT:
        return None
    found = TRUTH.get(written) if isinstance(written, str) else int(written) if written in (0, 1) else None
    if found is None:
        raise RefusedValue(f"{name} is {value!r}, and is to be true or false")
    return found


ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?"
    r"(Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?)?"
)


def _timestamp(value: Any, name: str) -> int | None:
    """A moment as microseconds since 1970 began, in UTC unless it says otherwise."""
    if isinstance(value, str) and value.strip(" ").lower() in ABSENT:
        return None
    found = ISO.fullmatch(value.strip(" ")) if isinstance(value, str) else None
    wrong = RefusedValue(f"{name} is {value!r}, and is to be a text such as 2024-01-31 08:00:00")
    if found is None:
        raise wrong
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    micros = int((found[7] or "")[:6].ljust(6, "0"))
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second, micros)
    except ValueError:
        raise wrong from None
    apart = datetime.timedelta()
    if found[8] and found[8] != "Z":
        digits = found[8][1:].replace(":", "")
        apart = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
        apart = -apart if found[8][0] == "-" else apart
    since = moment - datetime.datetime(1970, 1, 1) - apart
    return since // datetime.timedelta(microseconds=1)


def _date(value: Any, name: str) -> int | None:
    """The same of a day."""
    found = _timestamp(value, name)
    if found is not None and found % (24 * 3600 * 1000000):
        raise RefusedValue(f"{name} is {value!r}, and is to be a day without a time")
    return found


_READ: dict[str, Callable[[Any, str], Any]] = {"bool": _truth, "date": _date, "timestamp": _timestamp}


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
        raise RefusedValue(f"{name} is {text!r}, and is to be a number")
    if re.fullmatch("[+-]?[0-9]+", text):
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None


# --- steps ------------------------------------------------------------------------------------------

EncodeStep = Mapping[str, Any]
EncodeSteps = Mapping[str, tuple[str, Callable[[Any, EncodeStep], Any]]]
"""Of each encoder what its function is given, and the function."""
STEPS: EncodeSteps = {}


def _step(value: Any, step: EncodeStep, name: str, steps: EncodeSteps) -> Any:
    """One step on a value, on each of several, or on a missing one."""
    if "components" in step:
        return [_step(one, each, name, steps) for one, each in zip(value, step["components"], strict=True)]
    takes, function = steps[step["name"]]
    if isinstance(value, list) and takes != "row":
        return [_step(one, step, name, steps) for one in value]
    if value is None and takes == "value":
        return None
    try:
        made = _looked_up(value, step, name, function) if takes == "lookup" else function(value, step)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise RefusedValue(f"{name} is {value!r}, which {step['name']} cannot encode: {error}") from None
    return None if isinstance(made, float) and not math.isfinite(made) else made


def _looked_up(value: Any, step: EncodeStep, name: str, find: Callable[[Any, EncodeStep], Any]) -> Any:
    """The position that an encoder finds, with the default for what is unknown or missing."""
    default = step.get("default")
    at = None if value is None else find(value, step)
    if at is not None:
        return at + 1 if default == "other" else at
    if default == "other":
        return 0
    if default is not None:
        return find(default["value"], step)
    if value is not None:
        raise RefusedValue(f"{name} is {value!r}, which its {step['name']} does not list")
    return None


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
    if name == "cross":
        return _crossed(arguments)
    if name in TEXT:
        return TEXT[name](arguments[0])
    if name in COMPARED:
        return COMPARED[name](*arguments)
    try:
        value = NUMBERS[name](*(float(argument) for argument in arguments))
    except (ZeroDivisionError, OverflowError, ValueError):
        return None
    return value if not isinstance(value, complex) and math.isfinite(value) else None


def _crossed(arguments: list[Any]) -> str | None:
    """Texts and whole numbers, joined; a computed number is one as long as a double holds it exactly."""
    if any(isinstance(each, float) and abs(each) >= 2.0**53 for each in arguments):
        return None
    return "_X_".join(str(int(each) if isinstance(each, float) else each) for each in arguments)


def _decided(deciding: bool, arguments: list[Any]) -> bool | None:
    truths = [None if argument is None else bool(argument) for argument in arguments]
    if deciding in truths:
        return deciding
    return None if None in truths else not deciding


TEXT: dict[str, Callable[[str], str]] = {
    "strip": str.strip,
    "lower": lambda text: "".join(c.lower()[0] for c in text),
}
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
    except RefusedValue as refused:
        print(refused, file=sys.stderr)
        return 1
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
