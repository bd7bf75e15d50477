"""The tables of the grammar, made by lark: `python -m vflc.syntax.tables` writes them anew.

`grammars/vfl.tables.json` is made of `grammars/vfl.lark`; no spec is read with lark itself.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

from lark import Lark
from lark.grammar import Rule

from vflc.syntax.lalr import START, TABLES

OPTIONS: dict[str, Any] = {
    "parser": "lalr",
    "lexer": "basic",
    "keep_all_tokens": True,
    "maybe_placeholders": False,
}


def grammar() -> str:
    """The text of the grammar."""
    return resources.files("vflc_grammars").joinpath("vfl.lark").read_text(encoding="utf-8")


def make_tables(text: str) -> str:
    """The tables of a grammar as JSON, as `vflc.syntax.lalr.Tables` reads them.

    The same grammar gives the same tables: states have the order in which they are reached from the first.
    """
    lark = Lark(text, **OPTIONS)
    made = lark.parser.parser._parse_table
    lexer = lark.parser.lexer
    terminals = lexer.scanner.terminals
    assert set(lexer.callback) == {"NAME"}, "all words of the language are names"
    rules = sorted(lark.rules, key=lambda rule: (rule.origin.name, rule.order))
    number = {rule: index for index, rule in enumerate(rules)}
    start = made.start_states[START]
    order = [start]
    for state in order:
        following = (to for _, (action, to) in sorted(made.states[state].items()) if not _reduces(action))
        order += [to for to in dict.fromkeys(following) if to not in order]
    place = {state: index for index, state in enumerate(order)}
    states = [
        {
            name: ~number[target] if _reduces(action) else place[target]
            for name, (action, target) in sorted(made.states[state].items())
        }
        for state in order
    ]
    rows = list({json.dumps(row): row for row in states}.values())
    tables = {
        "grammar": hashlib.sha256(text.encode()).hexdigest(),
        "ignored": sorted(lexer.ignore_types),
        "pattern": "|".join(f"(?P<{each.name}>{each.pattern.to_regexp()})" for each in terminals),
        "words": {each.pattern.value: each.name for each in lexer.callback["NAME"].scanner.terminals},
        "rules": [_rule(rule) for rule in rules],
        "rows": rows,
        "states": [rows.index(row) for row in states],
        "start": place[start],
    }
    return json.dumps(tables, separators=(",", ":"), sort_keys=True) + "\n"


def _reduces(action: Any) -> bool:
    return str(action) == "Reduce"


def _rule(rule: Rule) -> list[Any]:
    """As lark builds trees that keep all tokens: parts of `_rule` go to what it is in, one of `?rule` too."""
    name = rule.origin.name
    spliced = [i for i, each in enumerate(rule.expansion) if not each.is_term and each.name.startswith("_")]
    single = bool(rule.options.expand1 and not rule.alias)
    lone = single and len(rule.expansion) == 1 and not spliced
    method = rule.alias or (None if lone or name.startswith("_") else name)
    return [name, len(rule.expansion), method, spliced, single, lone]


if __name__ == "__main__":
    folder = Path(str(resources.files("vflc_grammars")))
    (folder / TABLES).write_text(make_tables(grammar()), encoding="utf-8")
