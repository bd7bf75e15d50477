"""What the page in a browser asks of the compiler, asked without a browser."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def playground() -> ModuleType:
    path = ROOT / "site" / "playground" / "python" / "playground.py"
    spec = importlib.util.spec_from_file_location("playground", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_crosses(playground: ModuleType) -> None:
    text = (ROOT / "specs" / "deepfm" / "deepfm.vfl").read_text("utf-8")
    page = playground.Page()
    shown = json.loads(json.dumps(page.check(text)))
    assert not [each for each in shown["findings"] if each["severity"] == 1] and shown["drawn"]
    sent = {each["name"]: each for each in shown["crossing"]}
    assert sent["a.deep"]["shape"] == "[32]" and sent["a.deep"]["size"] == "128 B a row"
    assert sent["a.deep.gradient"]["phase"] == "backward" and any(each["known"] for each in shown["crossing"])
    picture = page.ask(text, "vflc/graph", {"folded": None, "styled": False})
    assert shown["learned"] and picture["svg"].startswith("<svg")
    assert page.check(text.replace("bob.liked", "bob.likd"))["findings"][0]["code"] == "VFL0105"
    assert json.loads(playground.answer(json.dumps(["ask", "x = ", "textDocument/formatting", {}]))) == []
