"""Parties, columns and encoders as an exported model describes them: checked, and as text of the language."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vflc_common.encoder import DEFAULT, OTHER
from vflc_common.encoders import record
from vflc_common.keys import key_columns
from vflc_common.words import vector_width

from vflc.translation.graph import refuse
from vflc.translation.names import literal

ENTRY = "vflc.json"
"""The entry of a `.keras` archive that describes its inputs."""
_NAME = re.compile(r"[^\W\d]\w{0,99}")
_LEVELS = (("or",), ("and",), ("==", "!=", "<", "<=", ">", ">="), ("+", "-"), ("*", "/", "//", "%"), ("**",))
"""Operators, from the loosest."""


def read_tables(content: bytes | str, where: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Parties as encoders.json has them, and of outputs the labels that they predict.

    Args:
        content: what a file says of them.
        where: it does, in messages.

    Raises:
        Refused: VFL0712, it is not what an export writes.
    """
    from vflc_runtime.bundle.columns import check_columns
    from vflc_runtime.bundle.contents import Contents
    from vflc_runtime.errors import Failure

    try:
        about = json.loads(content)
        parties, labels = about["parties"], about["labels"]
        if about["version"] != 1:
            refuse("VFL0712", f"{where} is of a version that this one does not read", "upgrade vflc")
        _check_vectors(parties)
        check_columns(Contents(Path(where), {"encoders.json": json.dumps({"parties": parties}).encode()}), [])
        for party, info in parties.items():
            _check_names(party, info, where)
        known = {f"{p}.{c['name']}" for p, i in parties.items() for c in i["columns"] if c["kind"] == "label"}
        wrong = [label for label in labels.values() if label is not None and label not in known]
    except Failure as failure:
        refuse("VFL0712", f"{where} does not hold together: {failure.message[:200]}", EXPORTED)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        refuse("VFL0712", f"{where} is not what `vflc export` writes", EXPORTED)
    if wrong:
        refuse("VFL0712", f"{where} names a label `{str(wrong[0])[:40]}` that no party has", EXPORTED)
    return parties, labels


EXPORTED = "export the model again, or delete the entry from the file and say who owns what: --owner"


def _check_vectors(parties: Mapping[str, Any]) -> None:
    """VFL0701 where the numbers of a vector were fitted each for itself: a spec has one setting for all."""
    for party, info in parties.items():
        for column in info["columns"]:
            for encoder in column.get("encoders") or ():
                fit = record(encoder).fit
                each = fit is not None and any(isinstance(encoder.get(p), list) for p in fit.neutral)
                if each and vector_width(column.get("type")) is not None:
                    what = f"`{encoder['name']}` of the vector `{party}.{column['name']}`"[:200]
                    help = "give it numbers in the run's spec, as in standardize(mean = 0, std = 1)"
                    refuse("VFL0701", f"{what} was fitted number by number, which a spec does not say", help)


def _check_names(party: str, info: Mapping[str, Any], where: str) -> None:
    names = [
        party,
        *key_columns(info),
        *(c["name"] for c in info["columns"]),
    ]
    wrong = next((name for name in names if not _NAME.fullmatch(name)), None)
    if wrong is not None:
        refuse("VFL0712", f"{where} has a name {wrong[:40]!r}, which is none of a spec", EXPORTED)
    for column in info["columns"]:
        for encoder in column.get("encoders", ()):
            if record(encoder).unfitted(encoder):
                refuse("VFL0712", f"{where} does not say what `{encoder['name']}` was fitted to", EXPORTED)


# --- as text ------------------------------------------------------------------------------------------


def party_text(name: str, info: Mapping[str, Any]) -> str:
    """The declaration of a party, not yet formatted."""
    lines = [f"key {', '.join(key_columns(info))}"] if info["key"] is not None else []
    return "\n".join([f"party {name} {{", *lines, *(declared(c)[0] for c in info["columns"]), "}"])


def declared(column: Mapping[str, Any]) -> tuple[str, str]:
    """The line of a column, and encoders that are left out of it: those that a prediction undoes."""
    chain: Sequence[Mapping[str, Any]] = column.get("encoders") or ()
    undone = [e for e in chain if column["kind"] == "label" and record(e).changes_units]
    kept = chain_text([e for e in chain if e not in undone])
    value = column.get("value")
    what = f": {column['type']}" if value is None else f" = {expression(value)}"
    line = f"{column['kind']} {column['name']}{what}" + (f" -> {kept}" if kept else "")
    return line, " -> ".join(e["name"] for e in undone)


def chain_text(chain: Sequence[Mapping[str, Any]]) -> str:
    """Encoders as a spec writes them: `split("|") -> vocab("a", "b", default = other)`."""
    return " -> ".join(map(_encoder, chain))


def _encoder(settings: Mapping[str, Any]) -> str:
    given: list[str] = []
    parameters = record(settings).parameters
    alone = [p for p in parameters if settings.get(p.name) is not None] == [*parameters[:1]]
    for parameter in parameters:
        value = settings.get(parameter.name)
        if value is None:
            continue
        if parameter.name == DEFAULT:
            given.append(f"default = {OTHER if value == OTHER else _value(value['value'])}")
        elif parameter.many:
            given += _listed(value)
        elif not given and (parameter.needed or alone):
            given.append(_value(value))
        else:
            given.append(f"{parameter.name} = {_value(value)}")
    return f"{settings['name']}({', '.join(given)})" if given else str(settings["name"])


def _listed(values: Sequence[Any]) -> list[str]:
    """Values one by one; whole numbers that count up as a range."""
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    if whole and len(values) > 2 and list(values) == list(range(values[0], values[0] + len(values))):
        return [f"{values[0]}..{values[-1]}"]
    return [_value(value) for value in values]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else literal(value)


def expression(tree: Mapping[str, Any], level: int = 0) -> str:
    """An expression over columns; in parentheses where it holds together less tightly than `level`."""
    if "column" in tree:
        return str(tree["column"])
    if "number" in tree or "string" in tree:
        return _value(tree.get("number", tree.get("string")))
    if "call" in tree:
        return f"{tree['call']}({expression(tree['args'][0])})"
    operator, args = tree["op"], tree["args"]
    if len(args) == 1:
        return f"({'not ' if operator == 'not' else '-'}{expression(args[0], len(_LEVELS))})"
    at = next(i for i, operators in enumerate(_LEVELS) if operator in operators)
    text = f"{expression(args[0], at + 1)} {operator} {expression(args[1], at + 1)}"
    return f"({text})" if at < level else text
