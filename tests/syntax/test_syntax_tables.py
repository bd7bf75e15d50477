"""The tables that start-up reads are those of the grammar."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from importlib import resources

import lark
import pytest
from lark.parsers.lalr_analysis import Shift

from vflc.syntax.tables import OPTIONS, TABLES, grammar, open_parser


def states(parser: lark.Lark) -> Counter[frozenset[tuple[str, str]]]:
    """What every state does with every token, but for the states' numbers, which are lark's choice."""
    table = parser.parse_interactive("").parser_state.parse_conf.states
    return Counter(
        frozenset((token, "shift" if what is Shift else str(target)) for token, (what, target) in row.items())
        for row in table.values()
    )


def test_the_tables_are_made_of_the_grammar() -> None:
    saved = json.loads(resources.files("vflc_grammars").joinpath(TABLES).read_text(encoding="utf-8"))
    digest = hashlib.sha256(grammar().encode()).hexdigest()
    assert saved["made_of"]["grammar"] == digest, "run: python -m vflc.syntax.tables"
    assert states(open_parser(None, {})) == states(lark.Lark(grammar(), **OPTIONS))


def test_other_tables_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vflc.syntax.tables.grammar", lambda: 'start: "a"+\n')
    assert open_parser(None, {}).parse("aaa").data == "start"
