"""What editors show of a spec, as plain data."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vflc.cli.crossings import crossing as printed
from vflc.driver import compile_spec
from vflc.lsp import coloured, completion, definition, describe, findings, hints, mending, outline, renaming
from vflc.lsp.analysis import Document
from vflc.lsp.positions import Positions, TextChange, applied, difference
from vflc.lsp.texts import NotAnswered, OpenText
from vflc.lsp.workspace import Workspace

ROOT = Path(__file__).parents[2]
PATH = ROOT / "specs" / "deepfm" / "deepfm.vfl"
SPEC = PATH.read_text("utf-8")
THREE = ROOT / "specs" / "three_parties" / "three_parties.vfl"
SPECS = sorted(ROOT.glob("specs/*/*.vfl"))


@pytest.fixture(scope="module")
def spec() -> Document:
    return Document(SPEC, PATH)


def at(text: str, words: str, inside: int = 0) -> int:
    return text.index(words) + inside


def words(text: str, mark: str = "|") -> set[str]:
    """What can be written where a text has a mark."""
    offset = text.index(mark)
    _, found = completion.proposals(Document(text.replace(mark, "", 1)), offset)
    return {each.word for each in found}


# --- positions ------------------------------------------------------------------------------------


@given(st.text(st.sampled_from("ab🚀é\n")), st.data())
def test_positions_are_those_of_utf16(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text)))
    line, column = Positions(text).position(offset)
    before = text[:offset].split("\n")
    assert (line, column) == (len(before) - 1, len(before[-1].encode("utf-16-le")) // 2)
    assert Positions(text).offset(line, column) == offset


def test_a_position_outside_is_the_nearest_inside() -> None:
    positions = Positions("ab\r\ncd")
    assert [positions.offset(0, 99), positions.offset(9, 0), positions.offset(1, 1)] == [2, 6, 5]


@given(st.text(st.sampled_from("ab\n"), max_size=8), st.text(st.sampled_from("ab\n"), max_size=8))
def test_a_difference_makes_one_of_the_other(before: str, after: str) -> None:
    assert applied(before, difference(before, after)) == after


# --- what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fm + dense", "`fm`: [1] at bob, 4 bytes, of alice, bob"),
        ("a = Bottom", "`a.deep`: [32] at alice, 128 bytes, of alice"),
        ("e = embed", "`b.e`: [field 2, 16] at bob, 128 bytes, of bob"),
        ("Gender:", "bob may learn the code of Gender (1 bit a row)"),
        ("Rating > 3", "alice may learn the code of Rating (1 bit a row)"),
        ("Bottom(bob", "Bottom(fields, k, units)"),
        ("glorot_uniform)  ", ""),
        ("embed(fields, dim = k", "An embedding of each field"),
        ("auc,", "area under the ROC curve"),
        ("adam(", "Kingma & Ba"),
        ("vocab(1", "The value's position"),
        ("bob {", "4 values cross to alice, 200 bytes a row"),
    ],
)
def test_hover(spec: Document, name: str, told: str) -> None:
    found = describe.hover(spec, at(SPEC, name))
    assert (found is None) if not told else (found is not None and told in found[2])


def test_lenses_say_what_the_command_line_prints() -> None:
    """Of one place: sums of bytes and what they are counted by, also of the keys of a batch."""
    names = ("deepfm/deepfm", "deepfm_protected/deepfm_protected", "one_to_many/one_to_many")
    paths = [ROOT / "specs" / f"{name}.vfl" for name in names]
    for path in paths:
        printed_page = " ".join(printed(compile_spec(path).manifest, 100).split())
        told = [lens[2] for lens in hints.lenses(Document(path.read_text("utf-8"), path))]
        sizes = [part.split(", ")[1] for lens in told for part in lens.split("; ") if " cross" in part]
        assert sizes and all(size in printed_page for size in sizes), path
    assert any("a key of a batch" in size for size in sizes)


def test_lenses_say_who_learns_what(spec: Document) -> None:
    assert hints.lenses(spec)[0][2] == (
        "4 values cross to bob, 200 bytes a row; alice may learn: "
        "the code of bob.MovieID (11.95 bits a row), "
        "the code of bob.Genres, the code of bob.Rating (1 bit a row), which rows are common"
    )


def test_nothing_is_said_of_a_party_that_is_not_known_yet(spec: Document) -> None:
    now = spec.again(f"party carol {{ key ID }}\nx = \n{SPEC}")
    assert [lens for _, _, lens in hints.lenses(now)] == [lens for _, _, lens in hints.lenses(spec)]
    _, _, told = describe.hover(now, now.text.index("carol")) or (0, 0, "")
    assert told.startswith("**carol** (party)") and "learn" not in told


def test_lenses_say_who_learns_what_that_is_not_granted() -> None:
    lens = hints.lenses(Document(SPEC.replace("Genres, liked", "Genres")))[0][2]
    assert lens.startswith("4 values cross to bob, 200 bytes a row; alice may learn: the code of bob.MovieID")


@pytest.mark.parametrize("name", ["fedrecon", "fedrecon_full", "three_parties", "deepfm_protected"])
def test_what_may_be_learned_is_said_whatever_is_granted(name: str) -> None:
    text = (ROOT / "specs" / name / f"{name}.vfl").read_text("utf-8")
    granting, without = Document(text), Document(re.sub(r"(?m)^release \w+ \{[^}]*\}", "", text))
    assert {each.code for each in without.diagnostics} >= {"VFL0340"}
    told = [lens for _, _, lens in hints.lenses(granting)]
    assert [lens for _, _, lens in hints.lenses(without)] == told
    assert not any("may learn: nothing" in lens for lens in told)


def test_hints_are_shapes_and_places(spec: Document) -> None:
    found = dict(hints.hints(spec, 0, len(SPEC)))
    assert found[at(SPEC, "logit = fm", 5)] == ": [1] at bob"
    assert at(SPEC, "e = embed", 1) not in found  # of another shape in each of its uses
    assert hints.hints(spec, 0, 100) == []


def test_facts_stay_while_a_line_does_not_parse(spec: Document) -> None:
    broken = spec.again(SPEC.replace("0.5 * (sum", "0.5 * * (sum"))
    assert [each.code for each in findings.squiggles(broken)] == ["VFL0001"]
    assert hints.lenses(broken) == hints.lenses(spec)
    found = describe.hover(broken, at(broken.text, "a = Bottom"))
    assert found is not None and "[32] at alice" in found[2]


def test_tokens_have_the_colour_of_their_owner(spec: Document) -> None:
    found = {(start, end): (kind, modifiers) for start, end, kind, modifiers in coloured.tokens(spec)}
    start = at(SPEC, "Gender:")
    assert found[start, start + 6] == ("property", ("declaration", "owner0"))
    start = at(SPEC, "fm + dense")
    assert found[start, start + 2] == ("variable", ("shared",))


# --- names ----------------------------------------------------------------------------------------


def test_definition_and_references(spec: Document) -> None:
    offset = at(SPEC, "sum(e, axis", 4)
    start = at(SPEC, "e = embed")
    assert definition.definition(spec, offset) == (None, start, start + 1)
    found = definition.references(spec, offset)
    assert len(found) == 4 and all(SPEC[a:b] == "e" for a, b in found)
    assert len(definition.references(spec, offset, declaration=False)) == 3
    assert definition.definition(spec, at(SPEC, "# DeepFM")) is None


def test_definition_in_the_library_and_in_a_file(tmp_path: Path) -> None:
    text = THREE.read_text("utf-8")
    found = definition.definition(Document(text, THREE), at(text, "DeepFMTop([a"))
    assert found is not None and found[0] is not None
    assert found[0].read_text("utf-8")[found[1] : found[2]] == "DeepFMTop"
    (tmp_path / "mine.vfl").write_text("block Twice(x) { return 2.0 * x }\n")
    text = 'use "mine.vfl".{Twice}\ny = Twice(1.0)\n'
    found = definition.definition(Document(text, tmp_path / "a.vfl"), at(text, "Twice(1"))
    assert found == (tmp_path / "mine.vfl", 6, 11)


@pytest.mark.parametrize("old", ["alice", "Gender", "Bottom", "fields", "e", "logit", "liked"])
def test_a_renamed_spec_means_the_same(spec: Document, old: str) -> None:
    found = next(each for each in spec.names if each.name == old and each.declares)
    ((_, edits),) = renaming.renamed(
        Workspace(), OpenText("file:///deepfm.vfl", spec), found.start, "other_name"
    )
    text = applied(SPEC, edits)
    assert Document(text).examined.diagnostics == []
    assert text.count("other_name") == len(definition.references(spec, found.start))


def test_what_cannot_be_renamed_says_so(spec: Document) -> None:
    for words, name, why in [
        ("logit = fm", "2nd", "is no name"),
        ("embed(", "put", "declares"),
        ("logit = fm", "fm", "something else"),
        ("k, units) {", "units", "something else"),
    ]:
        with pytest.raises(NotAnswered, match=why):
            renaming.renamed(Workspace(), OpenText("file:///deepfm.vfl", spec), at(SPEC, words), name)


# --- writing --------------------------------------------------------------------------------------

PARTY = "party alice {\n  key ID\n  feature Age: int -> scale(0.1)\n  feature Sex: string -> hash(4)\n}\n"


@pytest.mark.parametrize(
    ("text", "some", "none"),
    [
        ("|", {"party", "use", "train"}, {"feature", "dense"}),
        ("party alice {\n  |\n}\n", {"feature", "key", "label"}, {"party"}),
        ("party alice {\n  feature Age: |\n}\n", {"int", "timestamp"}, {"dense"}),
        ("party alice {\n  feature Age: int -> v|\n}\n", {"vocab", "standardize"}, {"dense"}),
        (PARTY + "x = alice.|", {"Age", "Sex", "features"}, {"alice", "dense"}),
        (PARTY + "y = dense(alice.Age, 2)\nx = y + |", {"y", "alice", "dense"}, {"party"}),
        (PARTY + "x = dense(alice.Age, 2, |)", {"activation = ", "relu"}, {"key"}),
        (PARTY + "fuse at |", {"alice"}, {"dense"}),
        (PARTY + "release alice {\n  to bob: |\n}", {"Age", "Sex"}, {"dense"}),
        ("use |", {"recsys", "credit"}, {"party"}),
        ("use recsys.{DeepFM, |}", {"DCN"}, {"party"}),
        ("train {\n  |\n}", {"batch", "metrics"}, {"auc", "adam"}),
        ("train {\n  batch 128\n  metrics auc, |\n}", {"recall"}, {"batch"}),
        ("train {\n  optimizer |\n}", {"adam"}, {"auc"}),
        ("train {\n  optimizer adam(lr = 0.1, |)\n}", {"beta1 = "}, {"batch"}),
        ("train {\n  shuffle |\n}", {"true", "false"}, {"batch"}),
        ("block A(x, n) {\n  y = x\n  return |\n}", {"x", "n", "y"}, {"party"}),
        ("# a comment |", set(), {"party"}),
        ('use "a|', set(), {"recsys"}),
    ],
)
def test_completion_knows_where_it_is(text: str, some: set[str], none: set[str]) -> None:
    found = words(text)
    assert some <= found and not none & found


def test_signature_marks_the_parameter() -> None:
    text = "x = dense(concat(a, b), 3, activation = relu)"
    for words, name, active in [("3, act", "units", 1), ("relu", "activation", None)]:
        found = completion.signature(Document(text), at(text, words))
        assert found is not None and found[0].name == "dense"
        assert found[0].parameters[found[1]].split(" ")[0] == name
        assert active in (None, found[1])
    assert completion.signature(Document(text), 2) is None


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("sigmoid", "sigmoit"),
        ("optimizer", "optimiser"),
        ("index(6041", "indx(6041"),
        ("auc", "aucc"),
        ("to alice: MovieID", "to alise: MovieID"),
        ("bob.liked", "bob.likd"),
        ("k = 16, units = [256, 32])\nb", "k = 16, unitz = [256, 32])\nb"),
    ],
)
def test_fixes_mend_what_they_say(right: str, wrong: str) -> None:
    broken = Document(SPEC.replace(right, wrong, 1), PATH)
    (fix,) = mending.quick_fixes(broken, 0, len(broken.text))
    assert applied(broken.text, list(fix.edits)) == SPEC
    assert mending.quick_fixes(broken, 0, 1) == []


def test_nothing_is_mended_where_nothing_is_wrong(spec: Document) -> None:
    assert mending.quick_fixes(spec, 0, len(SPEC)) == []


def test_missing_grants_are_added() -> None:
    text = SPEC[: SPEC.index("release alice")]
    broken = Document(text, PATH)
    assert broken.examined.refused
    (fix,) = [fix for fix in mending.quick_fixes(broken, 0, len(text)) if "grants" in fix.title]
    mended = Document(applied(text, list(fix.edits)), PATH)
    assert mended.examined.diagnostics == []


def test_formatting(spec: Document) -> None:
    assert mending.formatted(spec) == []
    messy = Document(SPEC.replace("epochs    5", "epochs 5"))
    assert applied(messy.text, mending.formatted(messy)) == SPEC
    assert mending.formatted(Document("party {")) == []


def test_outline_and_folds(spec: Document) -> None:
    found = outline.symbols(spec)
    assert [each.name for each in found][:6] == ["alice", "bob", "Bottom", "a", "b", "fuse at bob"]
    assert [each.name for each in found[0].children] == ["UserID", "Gender", "Age", "Occupation"]
    assert all(each.start <= each.name_start <= each.name_end <= each.end for each in found)
    assert [SPEC[start:end].split()[0] for start, end in outline.folds(spec)][:3] == ["#", "party", "party"]


# --- all of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(40, len(SPEC), 173))
def test_nothing_breaks_where_a_text_ends(cut: int) -> None:
    text = SPEC[:cut]
    analysis = Document(text)
    everything(analysis, cut)
    assert all(0 <= each.start <= each.end <= cut for each in findings.squiggles(analysis))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_example_is_understood(path: Path) -> None:
    text = path.read_text("utf-8")
    analysis = Document(text, path)
    everything(analysis, len(text) // 2)
    assert analysis.facts.values and all(text[each.start : each.end] == each.name for each in analysis.names)


def everything(analysis: Document, offset: int) -> None:
    findings.squiggles(analysis)
    hints.hints(analysis, 0, offset)
    hints.lenses(analysis)
    outline.symbols(analysis)
    outline.folds(analysis)
    coloured.tokens(analysis)
    for place in (offset, *(each.start for each in analysis.names[::7])):
        describe.hover(analysis, place)
        definition.definition(analysis, place)
        completion.proposals(analysis, place)
        completion.signature(analysis, place)


def test_a_column_of_a_column_of_an_unknown_type() -> None:
    text = SPEC.replace("Rating:  int", "Rating:  inte").replace("Rating > 3", "Rating")
    assert [each.code for each in findings.squiggles(Document(text))] == ["VFL0204"]
    (fix,) = mending.quick_fixes(Document(text), 0, len(text))
    assert fix.title == "Write `int`"


def test_features_import_nothing_heavy() -> None:
    code = (
        "import sys, vflc.lsp.hints, vflc.lsp.findings, vflc.lsp.completion, vflc.lsp.definition, "
        "vflc.lsp.mending, vflc.lsp.outline, vflc.lsp.coloured\n"
        f"from vflc.lsp.analysis import Document\nfrom pathlib import Path\n"
        f"a = Document(Path({str(PATH)!r}).read_text())\nvflc.lsp.hints.lenses(a)\n"
        "found = {'numpy', 'onnx', 'onnxruntime', 'tensorflow', 'pygls', 'lsprotocol'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_edits_are_made_from_the_end() -> None:
    assert applied("abc", [TextChange(0, 1, "xx"), TextChange(2, 3, "")]) == "xxb"
