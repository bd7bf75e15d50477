"""What the tests of the example specs share: their folders, their tables, sessions on them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from forked import completed
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.run import loading
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPECS = Path(__file__).resolve().parents[2] / "specs"
EVERY = {spec.stem: spec for spec in sorted(SPECS.rglob("*.vfl"))}
POPULATIONS = {name: spec for name, spec in EVERY.items() if "\npopulation " in spec.read_text("utf-8")}
EXAMPLES = {name: spec for name, spec in EVERY.items() if name not in POPULATIONS}
"""Those between parties."""
MERGED = [name for name, spec in EXAMPLES.items() if "missing party allowed" not in spec.read_text("utf-8")]
"""Those that can be exported as one model of all parties."""
SAME = {"deepfm_noised": "deepfm", "deepfm_protected": "deepfm"}
"""Examples that are another one without their protections: tests/verify."""
needs_data = pytest.mark.skipif(
    not os.environ.get("VFLC_DATA"), reason="VFLC_DATA does not name the folder of the measuring data"
)
PUBLISHED = {
    "deepfm": "ml-1m", "deepfm_protected": "ml-1m", "deepfm_noised": "ml-1m", "deepfm_splitrec": "ml-1m",
    "one_table": "ml-1m", "one_to_many": "ml-1m", "three_parties": "ml-1m", "regression": "ml-1m",
    "mmoe": "census-income", "mmoe_splitrec": "census-income", "label_only": "census-income",
    "u_shape": "census-income", "multiclass": "census-income", "wide_deep": "criteo",
    "fedrecon": "ml-1m", "fedrecon_full": "ml-1m",
}  # fmt: skip
"""Which published data set each example is about, by its folder in VFLC_DATA."""


def prepared(name: str, out: Path, *arguments: Any) -> dict[str, str]:
    """The parties' files that `prepare.py` wrote, by party."""
    script = EVERY[name].parent / "prepare.py"
    done = completed(script, *arguments, "--out", out)
    assert done.returncode == 0, done.stderr
    return {file.stem: str(file) for file in sorted(out.glob("*.parquet"))}


def published(name: str) -> Path:
    return Path(os.environ["VFLC_DATA"]) / PUBLISHED[name]


def text_of(name: str, small: bool) -> str:
    """The spec; small: with tables and networks of a size for tests."""
    text = EXAMPLES[name].read_text("utf-8")
    if small and name == "wide_deep":
        text = re.sub(r"\b80\b", "4", text.replace("200000", "500"))
        text = text.replace("[1024, 512, 256, 128]", "[16, 8]")
    return text


def few_fields(name: str) -> str:
    """The small spec, nine of its 39 fields where it is Wide & Deep: each is embedded like the next."""
    text = text_of(name, small=True)
    if name == "wide_deep":
        for fields, few in (("I{1..13}", "I{1..3}"), ("C{1..7}", "C{1..2}"), ("C{8..26}", "C{8..11}")):
            assert text.count(fields) == 2, "declared and released"
            text = text.replace(fields, few)
    return text


def session(
    name: str,
    folder: Path,
    *,
    precision: str = "float32",
    unsplit: bool = False,
    small: bool = True,
    protections: bool = True,
) -> Session:
    source = SourceText(f"{name}.vfl", text_of(name, small))
    compile_source(source, precision=precision, unsplit=unsplit, protections=protections).write(folder)
    return Session(folder, seed=0, threads=1)


def dataset(trained: Session, sources: dict[str, str]) -> Dataset:
    bundle = trained.bundle
    return Dataset.load(
        loading.encoders(bundle),
        sources,
        precision=bundle.manifest.precision,
        once=bundle.manifest.once,
        present=loading.present(bundle),
    )
