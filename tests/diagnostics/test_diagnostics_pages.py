"""Every code has a page, and every page tells the truth."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

import vflc
from vflc.diagnostics.codes import CODES
from vflc.diagnostics.explain import explain
from vflc.diagnostics.suggest import did_you_mean
from vflc.driver import check
from vflc.syntax.format import format_spec

PAGES = {page.name[:-3] for page in resources.files("vflc.diagnostics").joinpath("pages").iterdir()}
NOT_IN_A_SPEC = {
    "VFL0007", "VFL0008", "VFL0016", "VFL0017", "VFL0326", "VFL0501", "VFL0503", "VFL0504", "VFL0505",
    "VFL0506", "VFL0507", "VFL0508", "VFL0509",
    *(code for code in CODES if code > "VFL0600"),
}  # fmt: skip
ROOT = Path(vflc.__file__).parent.parent


def examples(code: str, kind: str) -> list[str]:
    return re.findall(rf"^```vfl {kind}\n(.*?)^```", explain(code), re.MULTILINE | re.DOTALL)


def test_a_page_a_code() -> None:
    assert set(CODES) == PAGES


def test_codes_in_use_are_known() -> None:
    folders = [Path(vflc.__file__).parent, ROOT / "runtime" / "vflc_runtime"]
    sources = [path for folder in folders for path in folder.rglob("*.py") if path.name != "codes.py"]
    used = {
        code for path in sources for code in re.findall(r'"(VFL\d{4})"', path.read_text(encoding="utf-8"))
    }
    assert used <= set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_page_has_all_its_parts(code: str) -> None:
    page = explain(code)
    assert page.startswith(f"# {code}: {CODES[code]}\n")
    assert "\n## What to do\n" in page
    if code in NOT_IN_A_SPEC:
        assert re.search(rf"(error|warning|note)\[{code}\]", page)
    else:
        assert examples(code, "bad") and examples(code, "good")


@pytest.mark.parametrize("code", sorted(set(CODES) - NOT_IN_A_SPEC))
def test_examples_do_what_the_page_says(code: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.vfl"
    for example in examples(code, "bad"):
        path.write_text(example, encoding="utf-8")
        assert {finding.code for finding in check(path)} == {code}
    for example in examples(code, "good"):
        path.write_text(example, encoding="utf-8")
        found = check(path)
        assert not [finding for finding in found if finding.level == "error"]
        assert code not in {finding.code for finding in found}
        assert format_spec(example) == example, "good examples are formatted"


def test_explain_is_forgiving() -> None:
    assert explain("vfl0101") == explain("101") == explain("0101") == explain(" VFL0101 ")
    with pytest.raises(KeyError, match="did you mean"):
        explain("VFL101")
    with pytest.raises(KeyError):
        explain("../codes")


@pytest.mark.parametrize(
    ("name", "names", "meant"),
    [
        ("logti", ["logit", "loss", "label"], "logit"),
        ("Genre", ["Genres", "Gender"], "Genres"),
        ("ID", ["id", "IDs"], "id"),
        ("x", ["alice", "bob"], None),
        ("x", [], None),
        ("same", ["same"], None),
    ],
)
def test_did_you_mean(name: str, names: list[str], meant: str | None) -> None:
    assert did_you_mean(name, names) == did_you_mean(name, reversed(names)) == meant
