"""What pictures show of real specs, also of those with mistakes."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from vflc import driver
from vflc.diagnostics import SourceText
from vflc.picture.draw import SvgPicture, draw
from vflc.picture.folding import diagram
from vflc.picture.layout import lay_out
from vflc.picture.of_manifest import sketch_manifest
from vflc.picture.svg import style

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def drawn(name: str, folded: frozenset[str] | None = None) -> SvgPicture:
    model = driver.examine_file(ROOT / "specs" / name / f"{name}.vfl").model
    assert model is not None
    return draw(model, folded)


def boxes(picture: SvgPicture) -> list[ET.Element]:
    return [each for each in ET.fromstring(picture.svg).iter(f"{SVG}g") if "data-item" in each.attrib]


@pytest.mark.parametrize(
    "name", ["deepfm", "fedrecon", "label_only", "mmoe", "one_to_many", "u_shape", "wide_deep"]
)
def test_every_spec_can_be_drawn(name: str) -> None:
    picture = drawn(name)
    found = boxes(picture)
    assert found and all(each.get("tabindex") == "0" and each.get("aria-label") for each in found)
    crossing = [each for each in found if "vfl-crossing" in each.attrib["class"]]
    assert crossing
    assert set(picture.folded) <= set(picture.blocks)


def test_a_crossing_says_how_much_and_what_it_tells() -> None:
    (first, *_) = [each for each in boxes(drawn("deepfm")) if each.get("data-name") == "a.first"
                   and "vfl-crossing" in each.attrib["class"]]  # fmt: skip
    assert [line.text for line in first.iter(f"{SVG}text")] == [
        "a.first [1]",
        "→ bob: 4 B a row",
        "tells at most the codes of 4 columns",
        "← gradient: 4 B a row",
        "tells at most the codes of 3 columns",
        "exact label",
    ]
    label = first.attrib["aria-label"]
    assert "bob may learn at most the codes of alice.UserID, alice.Gender" in label
    assert "alice may learn at most the codes of bob.MovieID" in label


def test_a_box_leads_to_its_line() -> None:
    found = {each.get("data-name"): each for each in boxes(drawn("deepfm", frozenset()))}
    spec = (ROOT / "specs" / "deepfm" / "deepfm.vfl").read_text("utf-8").splitlines()
    age = found["alice.Age"]
    assert age.attrib["data-uri"].endswith("deepfm.vfl")
    assert spec[int(age.attrib["data-line"]) - 1].strip().startswith("feature Age")
    assert found["logit"].get("data-block") == "logit" and found["logit"].get("data-folded") == "false"


def test_folding_a_block_makes_one_box_of_it_at_each_place() -> None:
    before = drawn("one_table", frozenset())
    after = draw_folded = drawn("one_table", frozenset({"logit"}))
    assert draw_folded.folded == ("logit",)
    kept = [each for each in boxes(after) if each.get("data-name", "").startswith("logit")
            and "vfl-crossing" not in each.attrib["class"]]  # fmt: skip
    assert [(each.get("data-place"), each.get("data-folded")) for each in kept] == [
        ("alice", "true"),
        ("bob", "true"),
    ]
    assert len(boxes(after)) < len(boxes(before))


def test_the_same_spec_gives_the_same_picture() -> None:
    assert drawn("mmoe") == drawn("mmoe")


SPEC = """\
party alice {
  key ID
  feature Age: int -> vocab(1, 2, 3)
}
party bob {
  key ID
  label bought: bool
}
logit = dense(embed(alice.Age, dim = 4), 1)
predict bought = sigmoid(logit)
objective bce(logit, bob.bought)
"""


def test_a_spec_with_mistakes_is_drawn_as_far_as_it_is_known() -> None:
    """Nothing is granted here: the compiler refuses it, and knows all the same what would cross."""
    examined = driver.examine(SourceText("spec.vfl", SPEC))
    assert examined.refused and examined.model is not None
    picture = draw(examined.model)
    assert any("vfl-crossing" in each.attrib["class"] for each in boxes(picture))
    warning = [each for each in boxes(picture) if "vfl-warns" in each.attrib["class"]]
    lines = [line.text for border in warning for line in border.iter(f"{SVG}text")]
    assert "not granted: alice.Age" in lines and "not granted: bob.bought" in lines


def test_a_grant_ends_the_warning() -> None:
    granted = SPEC + "release alice { to bob: Age }\nrelease bob { to alice: bought }\n"
    examined = driver.examine(SourceText("spec.vfl", granted))
    assert not examined.refused and examined.model is not None
    assert "not granted" not in draw(examined.model).svg


def test_a_model_that_has_no_places_yet_is_drawn() -> None:
    lowered = driver._read(SourceText("spec.vfl", SPEC), None, driver.DiagnosticCollector())
    assert boxes(draw(lowered))


def test_a_manifest_is_drawn() -> None:
    bundle = driver.compile_spec(ROOT / "specs" / "deepfm" / "deepfm.vfl")
    manifest = json.loads(json.dumps(bundle.manifest))
    picture = lay_out(diagram(sketch_manifest(manifest)))
    text = "\n".join(line.text for box in picture.boxes for line in box.box.lines)
    assert "→ bob: 200 B a row" in text and "← 4 gradients: 200 B a row" in text and "exact label" in text


def test_colours_can_be_fixed() -> None:
    assert "prefers-color-scheme" in style() and "prefers-color-scheme" not in style("dark") + style("light")
    assert "--vfl-text, #f0f6fc" in style("dark") and "--vfl-text, #f0f6fc" not in style("light")
