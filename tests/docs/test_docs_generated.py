"""Pages and pictures under docs/ that scripts write are what the scripts write now."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from vflc_common.encoders import ENCODERS
from vflc_common.metrics import METRICS
from vflc_runtime.bundle.folder import open_bundle

from vflc import driver
from vflc.diagnostics import SourceText
from vflc.diagnostics.codes import CODES
from vflc.ops import FUNCTIONS
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.schedules import SCHEDULES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
LINK = re.compile(r"(?:\]\(|src=\"|srcset=\")([^)\"#\s]+)")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["make_functions", "make_codes", "make_python", "make_extending", "make_commands", "make_passes"]
)
def test_page_is_up_to_date(name: str) -> None:
    made = script(name)
    assert made.PAGE.read_text("utf-8") == made.page(), f"run: python docs/{name}.py"


def test_pictures_are_up_to_date() -> None:
    for path, content in script("make_picture").pictures().items():
        assert path.read_text("utf-8") == content, "run: python docs/make_picture.py"
        ElementTree.fromstring(content)


def test_the_picture_quotes_the_spec() -> None:
    """Every line of the picture is in the spec, up to blanks and to what is left out (…)."""
    spec = re.sub(r"\s+", "", re.sub(r"#.*", "", (ROOT / "specs/one_table/one_table.vfl").read_text("utf-8")))
    for line in script("make_picture").SHOWN.splitlines():
        for part in filter(None, re.sub(r"\s+", "", line).replace("batch", "…batch").split("…")):
            assert part.removesuffix("}") in spec, line


def test_everything_is_in_the_reference() -> None:
    page = (DOCS / "functions.md").read_text("utf-8")
    for name in (*FUNCTIONS, *OPTIMIZERS.ours, *SCHEDULES.ours, *ENCODERS.ours):
        assert re.search(rf"^\| `{name}[(`]", page, re.MULTILINE), name


def test_every_step_of_an_exported_model_is_described_by_its_encoder() -> None:
    page = (DOCS / "exports.md").read_text("utf-8")
    for encoder in ENCODERS:
        given = ", ".join(f"`{parameter.name}`" for parameter in encoder.parameters)
        step = encoder.step.replace("|", "\\|")
        assert f"| `{encoder.name}`{': ' if given else ''}{given} | {step} |\n" in page, encoder.name


def test_what_each_encoder_does_with_unknown_and_missing_values_is_told() -> None:
    page = (DOCS / "columns.md").read_text("utf-8")
    table = page[page.index("| encoder | from | to |") :].split("\n\n")[0]
    for encoder in ENCODERS:
        assert f"`{encoder.name}" in table and all(p.name in table for p in encoder.parameters), encoder.name


def test_every_metric_can_be_asked_for(tmp_path: Path) -> None:
    spec = (ROOT / "specs/deepfm/deepfm.vfl").read_text("utf-8")
    binary = [metric.usage("Group") for metric in METRICS if "binary" in metric.measures]
    asked = spec.replace("metrics   auc, precision, recall", f"metrics {', '.join(binary)}")
    assert asked != spec
    asked = asked.replace("party bob {", "party bob {\n  column Group: int\n")
    driver.compile_source(SourceText("m.vfl", asked)).write(tmp_path / "bundle")
    measured = open_bundle(tmp_path / "bundle").plans["bob"].metrics[0].metrics
    assert measured == tuple(binary)


def test_every_code_is_in_the_index() -> None:
    page = (DOCS / "codes.md").read_text("utf-8")
    assert all(page.count(f"[{code}]") == 1 for code in CODES)


PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((ROOT / "specs").rglob("*.md")),
         ROOT / "editors" / "vscode" / "README.md"]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing
    for file, anchor in ANCHOR.findall(page.read_text("utf-8")):
        to = page.parent / file if file else page
        assert "://" in file or anchor in anchors(to), f"{file}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-") for head in heads}
