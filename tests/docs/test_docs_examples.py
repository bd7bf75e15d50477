"""Every example of the pages on the language compiles, or is refused as the page says."""

import re
from pathlib import Path

import pytest
from granting import granted

from vflc import driver
from vflc.diagnostics import DiagnosticCollector, Refused, SourceText
from vflc.passes.lower import lower
from vflc.syntax.format import format_spec
from vflc.syntax.parser import parse

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("language", "index", "columns", "rows", "losses", "training", "grants")
BLOCK = re.compile(r"^```vfl ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {page: BLOCK.findall((DOCS / f"{page}.md").read_text("utf-8")) for page in PAGES}
PRELUDE = next(text for kind, text in BLOCKS["language"] if kind == "prelude")
SHAPE = re.compile(r"^(\w+) *=[^#\n]*# (\[[^]]*\])", re.MULTILINE)
EXAMPLES = [(kind, text) for found in BLOCKS.values() for kind, text in found if kind != "prelude"]
NAMES = {
    text: f"{page}-{number}-{kind}"
    for page, found in BLOCKS.items()
    for number, (kind, text) in enumerate(found)
}

MODEL = """
unused_h = dense(embed({feature}, dim = 4), 4)
unused_z = dense(mlp(unused_h, [4]), 1) at bob
predict unused_p = sigmoid(unused_z)
objective bce(unused_z, bob.liked)
"""
TRAINED = """
wide  = dense(embed(alice.City, dim = 4), 4)
h     = dense(wide, 4)
logit = dense(mlp(h, [4]), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
"""


def whole(kind: str, text: str) -> str:
    """An example as a complete spec."""
    if kind == "spec":
        return text
    if kind == "columns":
        other = "party bob { key ID  column Rating: int  label liked = Rating > 3 }"
        return f"party p {{\n  key ID\n{text}}}\n{other}\n" + MODEL.format(feature="p.features").replace(
            "embed(p.features, dim = 4)", "flatten(embed(p.features, dim = 4))"
        )
    if kind == "train":
        return PRELUDE + TRAINED + text
    return PRELUDE + text + ("" if "objective" in text else MODEL.format(feature="alice.City"))


def ids(example: tuple[str, str]) -> str:
    return NAMES[example[1]]


def test_kinds_are_known() -> None:
    assert {kind.split()[0] for kind, _ in EXAMPLES} == {"spec", "columns", "statements", "train", "refused"}
    assert all(BLOCKS.values())


@pytest.mark.parametrize("example", [e for e in EXAMPLES if not e[0].startswith("refused")], ids=ids)
def test_example_compiles(example: tuple[str, str]) -> None:
    driver.compile_source(SourceText("language.vfl", granted(whole(*example))))


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e[0].startswith("refused")], ids=ids)
def test_example_is_refused(example: tuple[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        driver.compile_source(SourceText("language.vfl", whole(*example)))
    errors = {found.code for found in refused.value.diagnostics if found.level == "error"}
    assert errors == {example[0].split()[1]}


def test_the_first_spec_grants_all_that_it_needs() -> None:
    first = next(text for kind, text in EXAMPLES if kind == "spec")
    assert driver.compile_source(SourceText("first.vfl", first)).warnings == []


@pytest.mark.parametrize("example", [("prelude", PRELUDE), *EXAMPLES], ids=ids)
def test_example_is_in_the_one_form(example: tuple[str, str]) -> None:
    kind, text = example
    if kind == "columns":
        text = "party p {\n" + "".join(f"  {line}\n" for line in text.splitlines()) + "}\n"
    assert format_spec(text, "language.vfl") == text


def test_shapes_in_comments_are_those_of_the_values() -> None:
    found = 0
    for kind, text in EXAMPLES:
        if kind != "statements":
            continue
        collector = DiagnosticCollector()
        model = lower(
            parse(SourceText("language.vfl", whole(kind, text)), collector), "language", None, collector
        )
        assert model is not None
        for name, shape in SHAPE.findall(text):
            assert str(model.graph[name].type) == shape, name
            found += 1
    assert found >= 6


def test_other_files(tmp_path: Path) -> None:
    """All forms of `use` that the page names."""
    (tmp_path / "towers.vfl").write_text("block Tower(x) {\n  return dense(x, 4)\n}\n", "utf-8")
    for use in ('use "towers.vfl"', 'use "towers.vfl".{Tower}', "use recsys", "use recsys.FM"):
        spec = tmp_path / "spec.vfl"
        made = "t = Tower(alice.Age)\n" if "towers" in use else "t = FM([alice.City])\n"
        text = PRELUDE + use + "\n" + made + MODEL.format(feature="alice.City")
        spec.write_text(granted(text, tmp_path), "utf-8")
        assert not [found for found in driver.check(spec) if found.level == "error"], use
