"""The tables that start-up reads are those of the grammar."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib import resources

import lark
import pytest

from vflc.syntax.tables import TABLES, grammar, open_parser

MAKE = "from vflc.syntax.tables import *; print(make_tables(grammar()), end='')"


def test_the_tables_are_made_of_the_grammar() -> None:
    saved = resources.files("vflc_grammars").joinpath(TABLES).read_text(encoding="utf-8")
    made_of = json.loads(saved)["made_of"]
    assert made_of["grammar"] == hashlib.sha256(grammar().encode()).hexdigest(), "make the tables anew"
    if made_of["lark"] == lark.__version__:
        fresh = subprocess.run(
            [sys.executable, "-c", MAKE],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert saved == fresh


def test_other_tables_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vflc.syntax.tables.grammar", lambda: 'start: "a"+\n')
    assert open_parser(None, {}).parse("aaa").data == "start"
