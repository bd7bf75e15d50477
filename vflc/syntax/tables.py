"""The grammar's parser, from tables made beforehand: building them anew takes ten times as long.

`grammars/vfl.tables.json` is made from `vfl.lark` by `python -m
vflc.syntax.tables`. Tables of another grammar or of
another release of lark are not used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import lark
from lark import Lark

TABLES = "vfl.tables.json"
OPTIONS: dict[str, Any] = {
    "parser": "lalr",
    "lexer": "basic",
    "keep_all_tokens": True,
    "maybe_placeholders": False,
}


def grammar() -> str:
    """The text of the grammar."""
    return resources.files("vflc_grammars").joinpath("vfl.lark").read_text(encoding="utf-8")


def open_parser(transformer: Any, callbacks: Mapping[str, Callable[..., Any]]) -> Lark:
    """A parser that calls `transformer` at every reduction and `callbacks` at terminals."""
    text = grammar()
    dynamic = {"transformer": transformer, "lexer_callbacks": dict(callbacks)}
    saved = resources.files("vflc_grammars").joinpath(TABLES)
    if saved.is_file():
        tables = json.loads(saved.read_text(encoding="utf-8"))
        if tables["made_of"] == _made_of(text):
            return _restored(tables, dynamic)
    return Lark(text, **OPTIONS, **dynamic)


def make_tables(text: str) -> str:
    """The tables of a grammar as JSON."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = Lark(text, **OPTIONS).memo_serialize([TerminalDef, Rule])
    tables = {"made_of": _made_of(text), "data": data, "memo": memo}
    return json.dumps(tables, separators=(",", ":"), sort_keys=True) + "\n"


def _made_of(text: str) -> dict[str, str]:
    return {"lark": lark.__version__, "grammar": hashlib.sha256(text.encode()).hexdigest()}


def _restored(tables: Mapping[str, Any], dynamic: Mapping[str, Any]) -> Lark:
    """As lark's own stand-alone parsers do it; JSON has made texts of the numbers that are keys."""
    parser = tables["data"]["parser"]["parser"]
    parser["tokens"] = _numbered(parser["tokens"])
    parser["states"] = {number: _numbered(row) for number, row in _numbered(parser["states"]).items()}
    load: Callable[..., Lark] = Lark._load_from_dict
    return load(tables["data"], _numbered(tables["memo"]), **dynamic)


def _numbered(mapping: Mapping[str, Any]) -> dict[int, Any]:
    return {int(key): value for key, value in mapping.items()}


if __name__ == "__main__":
    folder = Path(str(resources.files("vflc_grammars")))
    (folder / TABLES).write_text(make_tables(grammar()), encoding="utf-8")
