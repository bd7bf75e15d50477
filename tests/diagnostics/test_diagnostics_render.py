"""How findings look: terminals, programs, code scanners."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshot import same_as

import vflc
from vflc.diagnostics import Diagnostic, RelatedSpan, SourceText, Span, render_json, render_sarif, render_text
from vflc.diagnostics.diagnostic import in_order
from vflc.diagnostics.render_text import MOST_ALSO, MOST_BLOCKS
from vflc.driver import check

SPEC = SourceText(
    "deepfm.vfl",
    "party alice {\n\tkey ID\n\tfeature Größe: int\n}\n"
    "名前 = f(未知の値, x)\nlogit = dense(\n  alice.Age,\n  1)\n\nlast",
)
OTHER = SourceText("blocks/towers.vfl", "block Tower(x) {\n  return mlp(x, [8])\n}\n")


def at(text: str, source: SourceText = SPEC) -> Span:
    start = source.text.index(text)
    return Span(source, start, start + len(text))


FINDINGS = [
    Diagnostic("VFL0101", "unknown name `未知の値`", at("未知の値"), "did you mean `値`?"),
    Diagnostic(
        "VFL0105", "no column `Größe`", at("Größe"), None, (RelatedSpan(at("party alice"), "declared here"),)
    ),
    Diagnostic("VFL0201", "over several lines", at("dense(\n  alice.Age,\n  1)"), "bring both to one shape"),
    Diagnostic(
        "VFL0107", "`Tower` needs `x`", at("f("), None, (RelatedSpan(at("(x)", OTHER), "its parameters"),)
    ),
    Diagnostic("VFL0005", "the file ends here", Span(SPEC, len(SPEC.text), len(SPEC.text)), "add `}`"),
    Diagnostic("VFL0310", "one feature only", at("last"), None, (), "warning"),
    Diagnostic("VFL0016", "cannot read\x1b[31m x.vfl", None, "check the path"),
]


def test_text() -> None:
    same_as(Path(__file__).parent / "findings.txt", render_text.render(FINDINGS))


def test_colours_are_the_only_difference() -> None:
    coloured = render_text.render(FINDINGS, colour=True)
    assert "\x1b[1;31merror[VFL0101]" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == render_text.render(FINDINGS)
    assert "\x1b" not in render_text.render(FINDINGS)


def test_carets_stand_under_what_they_mean() -> None:
    lines = render_text.render([Diagnostic("VFL0101", "m", at("x)"))]).splitlines()
    assert lines[3:5] == ["5 | 名前 = f(未知の値, x)", "  |                    ^^"]
    lines = render_text.render([Diagnostic("VFL0101", "m", at("Größe"))]).splitlines()
    assert lines[3:5] == ["3 |     feature Größe: int", "  |             ^^^^^"]


def test_long_lines_are_cut_around_the_place() -> None:
    source = SourceText("x", "a" * 5000 + "HERE" + "b" * 5000)
    text = render_text.render([Diagnostic("VFL0101", "m", at("HERE", source))])
    line, carets = text.splitlines()[3:5]
    assert len(line) < 160 and line.startswith("1 | …") and line.endswith("…")
    assert line[carets.index("^") : carets.index("^") + 4] == "HERE" and carets.endswith(" ^^^^")


@pytest.mark.parametrize("text", ["", "\n", "x", "x\n", "\r\n\r\n"])
def test_empty_files(text: str) -> None:
    source = SourceText("empty.vfl", text)
    for offset in range(len(text) + 1):
        rendered = render_text.render([Diagnostic("VFL0109", "nothing", Span(source, offset, offset))])
        assert rendered.splitlines()[-1].rstrip().endswith("^")


def test_order_is_errors_first_then_by_place() -> None:
    assert [d.code[-3:] for d in in_order(FINDINGS)] == ["016", "105", "107", "101", "201", "005", "310"]


def test_json() -> None:
    found = json.loads(render_json.render(FINDINGS))
    assert len(found) == len(FINDINGS)
    keys = ["file", "line", "column", "end_line", "end_column", "code", "level", "message", "help", "labels"]
    assert all(list(each) == keys for each in found)
    several = next(each for each in found if each["code"] == "VFL0201")
    assert [several[key] for key in keys[:5]] == ["deepfm.vfl", 6, 9, 8, 5]
    nowhere = next(each for each in found if each["code"] == "VFL0016")
    assert nowhere["file"] is nowhere["line"] is None
    labelled = next(each for each in found if each["code"] == "VFL0107")
    assert labelled["labels"] == [
        {
            "file": "blocks/towers.vfl",
            "line": 1,
            "column": 12,
            "end_line": 1,
            "end_column": 15,
            "text": "its parameters",
        }
    ]


def test_sarif() -> None:
    log = json.loads(render_sarif.render(FINDINGS))
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted({d.code for d in FINDINGS})
    assert all(rule["shortDescription"]["text"] for rule in rules)
    assert run["columnKind"] == "unicodeCodePoints"
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note") and result["message"]["text"]
        for place in result["locations"] + result.get("relatedLocations", []):
            region = place["physicalLocation"]["region"]
            assert region["startLine"] >= 1 and region["startColumn"] >= 1
            assert (region["endLine"], region["endColumn"]) >= (region["startLine"], region["startColumn"])
            assert place["physicalLocation"]["artifactLocation"]["uri"]
    assert render_sarif.render([]).count('"results": []') == 1
    spaced = Diagnostic("VFL0101", "m", at("x", SourceText("my specs/ü.vfl", "x")))
    assert '"my%20specs/%C3%BC.vfl"' in render_sarif.render([spaced])


@settings(deadline=None)
@given(st.text(alphabet="ab\t\n\r界\u0301\x00é "), st.data())
def test_any_span_of_any_text(text: str, data: st.DataObject) -> None:
    source = SourceText("x", text)
    places = st.integers(0, len(text))
    spans = [Span(source, *sorted((data.draw(places), data.draw(places)))) for _ in range(3)]
    finding = Diagnostic(
        "VFL0001", text, spans[0], text, tuple(RelatedSpan(span, text) for span in spans[1:])
    )
    rendered = render_text.render([finding])
    assert "^" in rendered and not any(char in rendered for char in "\t\r\x00")
    json.loads(render_json.render([finding]))
    json.loads(render_sarif.render([finding]))


def test_findings_of_one_code_at_one_place_are_one_block() -> None:
    many = [Diagnostic("VFL0302", f"the feature p{n}.A is read", at("Größe"), "embed it") for n in range(9)]
    other = Diagnostic("VFL0301", "something else", at("Größe"))
    text = render_text.render([*many, other])
    assert text.count("VFL0302") == 1 and text.count("error[") == 2
    assert text.count("also: ") == MOST_ALSO + 1 and "also: 4 more of this kind" in text
    assert text.endswith("10 errors")


def test_of_many_warnings_the_first_are_shown_whole() -> None:
    source = SourceText("x.vfl", "\n" * 50)
    places = [Span(source, n, n) for n in range(40)]
    text = render_text.render([Diagnostic("VFL0321", "alone", place, level="warning") for place in places])
    assert text.count("warning[VFL0321]") == MOST_BLOCKS
    assert "37 more VFL0321, at x.vfl:4:1, x.vfl:5:1, x.vfl:6:1, x.vfl:7:1 and 33 more places" in text
    errors = render_text.render([Diagnostic("VFL0101", "unknown", place) for place in places])
    assert errors.count("error[VFL0101]") == 40


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_breaks_no_word(width: int) -> None:
    long = SourceText("x.vfl", "x = " + " + ".join(f"value_{n}" for n in range(60)))
    found = Diagnostic("VFL0302", "a message of words " * 12, Span(long, 100, 120), "some help " * 20)
    lines = render_text.render([found], width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert {word for line in lines[:8] for word in line.split()} >= {"message", "words"}
    plain = render_text.render([found]).splitlines()
    assert len(plain) < len(lines)


def test_the_users_text_comes_before_the_librarys(tmp_path: Path) -> None:
    spec = (Path(vflc.__file__).parent.parent / "specs/deepfm/deepfm.vfl").read_text("utf-8")
    head = spec[: spec.index("block Bottom")]
    path = tmp_path / "model.vfl"
    path.write_text(
        f"use recsys.{{DeepFM}}\n{head}logit = DeepFM(alice.features + bob.features, k = 4, units = [8])\n"
        "predict liked = sigmoid(logit)\nobjective bce(logit, bob.liked)\n"
    )
    found = check(path)
    assert sorted(each.code for each in found) == ["VFL0340", "VFL0340"]
    assert all(each.span and each.span.source.name == str(path) for each in found)
    assert [label.span.source.name for each in found for label in each.labels].count(str(path)) >= 2
    path.write_text(path.read_text().replace("[8]", "[0]"))
    (wrong,) = check(path)
    assert wrong.span and wrong.span.text.startswith("DeepFM(")
    assert [label.span.source.name for label in wrong.labels] == ["library/recsys.vfl"]
