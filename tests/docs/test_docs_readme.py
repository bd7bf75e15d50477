"""What README.md quotes is what vflc prints."""

import re
from pathlib import Path

import pytest

from vflc import driver
from vflc.cli.crossings import crossing
from vflc.cli.learned import paragraphs
from vflc.cli.main import run
from vflc.diagnostics import SourceText

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
QUOTED = re.findall(r"^```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_typo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sed = re.search(r"sed 's/(.*?)/(.*?)/' specs/one_table/one_table.vfl > (\S+)", README)
    assert sed is not None
    spec = (ROOT / "specs/one_table/one_table.vfl").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    Path(sed[3]).parent.mkdir()
    Path(sed[3]).write_text(spec.replace(sed[1], sed[2]), "utf-8")
    assert run(["check", sed[3]]) == 1
    assert capsys.readouterr().out.strip() in {quoted.strip() for quoted in QUOTED}


def test_who_may_learn_what() -> None:
    model = driver.compile_spec(ROOT / "specs/one_table/one_table.vfl").model
    (shown,) = [quoted for quoted in QUOTED if quoted.startswith("Who may learn what")]
    assert shown.strip("\n") == paragraphs(model.disclosed.learned, model.disclosed.evidence, 80)


def test_the_site_begins_with_what_the_compiler_says() -> None:
    page = (ROOT / "docs/index.md").read_text("utf-8")
    spec, shown = (page.split(f"```{kind}\n")[1].split("```")[0] for kind in ("vfl spec", "text"))
    model = driver.compile_source(SourceText("index.vfl", spec)).model
    assert shown.strip("\n") == paragraphs(model.disclosed.learned, model.disclosed.evidence, 80)


def test_what_crosses() -> None:
    manifest = driver.compile_spec(ROOT / "specs/one_table/one_table.vfl").manifest
    (shown,) = [quoted for quoted in QUOTED if quoted.startswith("What crosses")]
    lines = shown.splitlines()
    assert lines[-1] == "  …" and lines[:-1] == crossing(manifest, 80).splitlines()[: len(lines) - 1]
