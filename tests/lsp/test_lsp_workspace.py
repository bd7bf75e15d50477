"""The one entry for a server and a web page: plain data, with no files where all texts are given."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vflc.lsp.answers import ANSWERS, capabilities
from vflc.lsp.places import Places, changed, path_of
from vflc.lsp.texts import NotAnswered
from vflc.lsp.workspace import Workspace

ROOT = Path(__file__).parents[2]
SPEC = (ROOT / "specs" / "deepfm" / "deepfm.vfl").read_text("utf-8")
BLOCKS, MAIN = "file:///specs/blocks.vfl", "file:///specs/main.vfl"
TWICE = "block Twice(x, by) {\n  return by * x\n}\n\nblock Four(x) {\n  return Twice(x, by = 4)\n}\n"
USING = """use "blocks.vfl".{Twice}
party alice {
  key ID
  feature Age: float -> standardize
}
party bob {
  key ID
  label liked: bool
}
h = dense(alice.Age, 8)
logit = dense(Twice(h, by = 2), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice { to bob: Age }
release bob { to alice: liked }
"""


@pytest.fixture
def workspace() -> Workspace:
    made = Workspace({BLOCKS: TWICE, MAIN: USING})
    made.open(MAIN, USING)
    return made


def at(uri: str, text: str, words: str, inside: int = 0) -> dict[str, Any]:
    place = Places(uri, text).position(text.index(words) + inside)
    return {"textDocument": {"uri": uri}, "position": place}


def written(text: str, edits: list[dict[str, Any]]) -> str:
    places = Places("", text)
    for edit in sorted(edits, key=lambda each: places.offset(each["range"]["start"]), reverse=True):
        start, end = places.span(edit["range"])
        text = text[:start] + edit["newText"] + text[end:]
    return text


# --- several files --------------------------------------------------------------------------------


def test_files_that_are_given_are_used(workspace: Workspace) -> None:
    assert workspace.diagnostics(MAIN) == []
    hover = workspace.ask("textDocument/hover", at(MAIN, USING, "Twice(h"))
    assert "Twice(x, by)" in hover["contents"]["value"]
    found = workspace.ask("textDocument/definition", at(MAIN, USING, "Twice(h"))
    assert found == Places(BLOCKS, TWICE).location(6, 11)
    found = workspace.ask("textDocument/definition", at(MAIN, USING, "by = 2"))
    assert found == Places(BLOCKS, TWICE).location(15, 17)
    told = workspace.ask("textDocument/signatureHelp", at(MAIN, USING, "Twice(h", 6))
    assert told["signatures"][0]["label"] == "Twice(x, by)"


@pytest.mark.parametrize("start", ["use", "block", "call"])
def test_a_block_is_renamed_where_it_is_used(workspace: Workspace, start: str) -> None:
    workspace.open(BLOCKS, TWICE)
    where = {
        "use": at(MAIN, USING, "{Twice", 1),
        "block": at(BLOCKS, TWICE, "Twice"),
        "call": at(BLOCKS, TWICE, "Twice(x, by ="),
    }[start]
    changes = workspace.ask("textDocument/rename", {**where, "newName": "Double"})["changes"]
    assert written(TWICE, changes[BLOCKS]) == TWICE.replace("Twice", "Double")
    assert written(USING, changes[MAIN]) == USING.replace("Twice", "Double")
    assert len(workspace.ask("textDocument/references", where)) == 4


def test_a_parameter_is_renamed_in_calls_of_other_files(workspace: Workspace) -> None:
    where = at(MAIN, USING, "by = 2")
    changes = workspace.ask("textDocument/rename", {**where, "newName": "factor"})["changes"]
    assert written(USING, changes[MAIN]) == USING.replace("by = 2", "factor = 2")
    assert written(TWICE, changes[BLOCKS]) == TWICE.replace("by", "factor")


def test_what_would_hide_another_name_is_not_renamed(workspace: Workspace) -> None:
    with pytest.raises(NotAnswered, match=r"something else.*main.vfl"):
        workspace.open(BLOCKS, TWICE)
        workspace.ask("textDocument/rename", {**at(BLOCKS, TWICE, "Twice"), "newName": "logit"})


def test_the_library_keeps_its_names() -> None:
    workspace, text = Workspace(), "use recsys.{DeepFM}\nx = DeepFM(1)\n"
    workspace.open(MAIN, text)
    with pytest.raises(NotAnswered, match="the library that comes with vflc"):
        workspace.ask("textDocument/prepareRename", at(MAIN, text, "DeepFM(1"))


def test_texts_that_use_a_file_are_looked_at_again(workspace: Workspace) -> None:
    assert workspace.diagnostics(MAIN) == []
    assert workspace.open(BLOCKS, TWICE) == [MAIN]
    changed = TWICE.replace("block Twice", "block Thrice")
    assert workspace.change(BLOCKS, [{"text": changed}]) == [MAIN]
    found = {each["code"]: each for each in workspace.diagnostics(MAIN)}
    assert found["VFL0108"]["range"] == Places(MAIN, USING).range(18, 23)
    assert workspace.close(BLOCKS) == [MAIN] and workspace.diagnostics(MAIN) == []
    workspace.open(BLOCKS, "block {")
    (found, *_) = [each for each in workspace.diagnostics(MAIN) if each["relatedInformation"]]
    assert found["range"] == Places(MAIN, USING).range(4, 16)  # where it is used
    assert found["relatedInformation"][0]["location"]["uri"] == BLOCKS


def test_files_of_folders_are_found(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "blocks.vfl").write_text(TWICE)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "no.vfl").write_text("block Twine(x) { return x }\n")
    (tmp_path / "main.vfl").write_text(USING.replace("blocks.vfl", "inner/blocks.vfl"))
    workspace = Workspace(folders=[tmp_path.as_uri()])
    found = workspace.ask("workspace/symbol", {"query": "tw"})
    assert [each["name"] for each in found] == ["Twice"]
    assert found[0]["location"]["uri"] == (tmp_path / "inner" / "blocks.vfl").as_uri()
    uri = (tmp_path / "inner" / "blocks.vfl").as_uri()
    workspace.open(uri, TWICE)
    changes = workspace.ask("textDocument/rename", {**at(uri, TWICE, "Twice"), "newName": "Double"})
    assert set(changes["changes"]) == {uri, (tmp_path / "main.vfl").as_uri()}


def test_a_file_that_changed_on_the_disk_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "blocks.vfl").write_text(TWICE)
    workspace, uri = Workspace(), (tmp_path / "main.vfl").as_uri()
    workspace.open(uri, USING)
    assert workspace.diagnostics(uri) == []
    (tmp_path / "blocks.vfl").write_text(TWICE.replace("Twice", "Thrice"))
    assert workspace.diagnostics(uri) == []  # nobody has told
    assert workspace.saved((tmp_path / "blocks.vfl").as_uri()) == [uri]
    assert "VFL0108" in [each["code"] for each in workspace.diagnostics(uri)]
    assert workspace.saved((tmp_path / "others.vfl").as_uri()) == []


def test_a_file_that_is_gone_or_comes_is_noticed(tmp_path: Path) -> None:
    """Also one that only another file uses."""
    (tmp_path / "blocks.vfl").write_text('use "inner.vfl"\n' + TWICE)
    inner, workspace, uri = tmp_path / "inner.vfl", Workspace(), (tmp_path / "main.vfl").as_uri()
    inner.write_text("block Unused(x) {\n  return x\n}\n")
    workspace.open(uri, USING)
    assert workspace.diagnostics(uri) == []
    for file in (inner, tmp_path / "blocks.vfl"):
        text = file.read_text()
        file.unlink()
        assert workspace.saved(file.as_uri()) == [uri]
        assert "VFL0108" in [each["code"] for each in workspace.diagnostics(uri)]
        file.write_text(text)
        assert workspace.saved(file.as_uri()) == [uri]
        assert workspace.diagnostics(uri) == []


def test_what_lies_elsewhere_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.vfl").write_text(TWICE)
    (tmp_path / "specs").mkdir()
    workspace, uri = Workspace(), (tmp_path / "specs" / "main.vfl").as_uri()
    text = USING.replace("blocks.vfl", "../secret.vfl")
    workspace.open(uri, text)
    assert "VFL0108" in [each["code"] for each in workspace.diagnostics(uri)]
    assert workspace.ask("textDocument/definition", at(uri, text, "Twice(h")) is None
    assert workspace.document(uri).reached() == set()


# --- one file -------------------------------------------------------------------------------------


def test_calls_of_blocks(workspace: Workspace) -> None:
    (item,) = workspace.ask("textDocument/prepareCallHierarchy", at(MAIN, USING, "Twice(h"))
    assert (item["name"], item["uri"]) == ("Twice", BLOCKS)
    found = workspace.ask("callHierarchy/incomingCalls", {"item": item})
    assert {(each["from"]["name"], each["from"]["uri"]) for each in found} == {
        ("Four", BLOCKS),
        ("logit", MAIN),
    }
    four = next(each["from"] for each in found if each["from"]["name"] == "Four")
    (called,) = workspace.ask("callHierarchy/outgoingCalls", {"item": four})
    assert called["to"]["name"] == "Twice"
    assert called["fromRanges"] == [Places(BLOCKS, TWICE).range(*_span(TWICE, "Twice", TWICE.index("Four")))]
    assert workspace.ask("textDocument/prepareCallHierarchy", at(MAIN, USING, "alice")) is None


def _span(text: str, words: str, since: int) -> tuple[int, int]:
    start = text.index(words, since)
    return start, start + len(words)


def test_a_selection_grows_from_a_word_to_the_text(workspace: Workspace) -> None:
    where = at(MAIN, USING, "by = 2")
    (chain,) = workspace.ask("textDocument/selectionRange", {**where, "positions": [where["position"]]})
    places, found = Places(MAIN, USING), []
    while chain:
        start, end = places.span(chain["range"])
        found.append(USING[start:end])
        chain = chain.get("parent")
    assert found[:4] == ["by", "by = 2", "Twice(h, by = 2)", "dense(Twice(h, by = 2), 1)"]
    assert found[-1] == USING and all(inner in outer for inner, outer in pairwise(found))


def test_a_part_is_formatted_alone(workspace: Workspace) -> None:
    text = USING.replace("dense(alice.Age, 8)", "dense( alice.Age,8 )").replace("key ID", "key   ID", 1)
    workspace.open(MAIN, text)
    start = text.index("dense( ")
    params = {"textDocument": {"uri": MAIN}, "range": Places(MAIN, text).range(start, start + 1)}
    edits = workspace.ask("textDocument/rangeFormatting", params)
    found = written(text, edits)
    assert "dense(alice.Age, 8)" in found and "key   ID" in found
    whole = workspace.ask("textDocument/formatting", {"textDocument": {"uri": MAIN}})
    assert "key   ID" not in written(text, whole) and len(whole) > 1


def test_a_finding_leads_to_its_page(workspace: Workspace) -> None:
    workspace.open(MAIN, USING.replace("sigmoid", "sigmoit"))
    (found,) = workspace.diagnostics(MAIN)
    page = path_of(found["codeDescription"]["href"])
    told = workspace.ask("vflc/explain", {"code": found["code"]})
    assert page is not None and page.read_text("utf-8") == told["page"]
    assert told["title"] == "An unknown function, block, encoder or option"
    with pytest.raises(NotAnswered, match="did you mean VFL0101"):
        workspace.ask("vflc/explain", {"code": "VFL101"})


def test_the_graph_stays_while_a_line_does_not_parse(workspace: Workspace) -> None:
    params = {"textDocument": {"uri": MAIN}, "folded": None}
    found = workspace.ask("vflc/graph", params)
    assert found["svg"].startswith("<svg") and found["width"] > 100
    assert found["sources"] == {str(path_of(MAIN)): MAIN, "blocks.vfl": BLOCKS}
    workspace.change(MAIN, [{"text": USING.replace("Twice(h", "Twice((h")}])
    assert workspace.ask("vflc/graph", params) == found
    empty = Workspace()
    empty.open(MAIN, "party {")
    assert empty.ask("vflc/graph", params) is None


def test_what_is_not_there_is_not_answered(workspace: Workspace) -> None:
    with pytest.raises(NotAnswered, match="is not open"):
        workspace.diagnostics(BLOCKS)
    with pytest.raises(NotAnswered, match="no method"):
        workspace.ask("textDocument/moniker", {})


def test_every_method_is_told_of() -> None:
    told = capabilities()
    assert told["textDocumentSync"]["change"] == 2
    assert all(not each.capability or each.capability in told for each in ANSWERS.values())


# --- keystrokes -----------------------------------------------------------------------------------

PIECES = [
    "x", "alice", ".", "{", "}", "(", ")", '"', "\n", "# c", "= ", "🚀", "\r\n", "block B(x) {", "",
    "feature y: int", " -> hash(9)",
]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_edits_one_by_one_end_as_the_text_does(data: st.DataObject) -> None:
    """Whatever is kept from one version to the next must not show."""
    workspace, text = Workspace({BLOCKS: TWICE}), USING
    workspace.open(MAIN, text)
    for _ in range(data.draw(st.integers(1, 4))):
        changes = []
        for _ in range(data.draw(st.integers(1, 2))):
            start = data.draw(st.integers(0, len(text)))
            end = min(len(text), start + data.draw(st.integers(0, 12)))
            piece = data.draw(st.sampled_from(PIECES))
            changes.append({"range": Places(MAIN, text).range(start, end), "text": piece})
            text = changed(text, changes[-1:])
        workspace.change(MAIN, changes)
        assert workspace.document(MAIN).text == text
        if data.draw(st.booleans()):
            workspace.diagnostics(MAIN)
    fresh = Workspace({BLOCKS: TWICE})
    fresh.open(MAIN, text)
    assert workspace.diagnostics(MAIN) == fresh.diagnostics(MAIN)
    for method in ("textDocument/documentSymbol", "textDocument/foldingRange"):
        params = {"textDocument": {"uri": MAIN}}
        assert workspace.ask(method, params) == fresh.ask(method, params)


class Enough(Exception):
    """A check is called off."""


def test_a_check_ends_where_nobody_waits_for_it() -> None:
    workspace = Workspace()
    workspace.open(MAIN, SPEC)
    document = workspace.document(MAIN)
    calls = 0

    def going() -> None:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Enough

    for stop in (1, 10, 20):  # noqa: B007 (`going` reads it)
        calls = 0
        with pytest.raises(Enough):
            document.check(going)
        assert not document.is_checked
    stop, calls = -1, 0
    document.check(going)
    assert calls > 20 and document.is_checked
    assert workspace.diagnostics(MAIN) == []


@pytest.mark.parametrize("broken", ["", "party {", SPEC[:700], SPEC.replace("0.5 * (sum", "0.5 * * (sum")])
def test_every_method_answers_of_broken_text(broken: str) -> None:
    workspace = Workspace()
    workspace.open(MAIN, SPEC)
    workspace.change(MAIN, [{"text": broken}])
    place = {"line": 5, "character": 4}
    whole = {"start": {"line": 0, "character": 0}, "end": {"line": 999, "character": 0}}
    params = {
        "textDocument": {"uri": MAIN}, "position": place, "positions": [place], "range": whole,
        "context": {"diagnostics": workspace.diagnostics(MAIN)}, "query": "a", "code": "101",
        "newName": "x", "item": {"uri": MAIN, "name": "Bottom", "selectionRange": whole},
    }  # fmt: skip
    for method in ANSWERS:
        try:
            workspace.ask(method, params)
        except NotAnswered as refused:
            assert str(refused)


def test_a_page_needs_no_server_and_no_engine() -> None:
    code = (
        "import sys\nfrom vflc.lsp.workspace import Workspace\n"
        f"w = Workspace()\nw.open({MAIN!r}, {USING!r})\nw.diagnostics({MAIN!r})\n"
        f"w.ask('textDocument/codeLens', {{'textDocument': {{'uri': {MAIN!r}}}}})\n"
        "found = {'numpy', 'onnx', 'onnxruntime', 'tensorflow', 'pygls', 'lsprotocol', 'asyncio'}\n"
        "assert not found & set(sys.modules), found & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
