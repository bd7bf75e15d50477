"""An encoder is known by its record, and nowhere by its name."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from vflc_common.encoder import Encoder
from vflc_common.encoders import ENCODERS

ROOT = Path(__file__).parents[2]
TOPS = (ROOT / "vflc", ROOT / "runtime" / "vflc_runtime", ROOT / "runtime" / "vflc_common")
ALSO = {"clip", "day", "days", "hash", "hour", "index", "lower", "minute", "missing", "month", "scale"} | {
    "pad", "remove", "sequence", "split", "standardize", "strip", "words", "year",
}  # fmt: skip
"""Names that are words of something else, too: ops, functions of expressions, keys of plans, programs."""


def sources(words: Iterable[str]) -> Iterator[tuple[str, ast.AST]]:
    """The files in whose text one of the words stands."""
    written = re.compile("|".join(words))
    for top in TOPS:
        for path in sorted(top.rglob("*.py")):
            if path.parent.name != "encoders" and written.search(text := path.read_text("utf-8")):
                yield str(path.relative_to(ROOT)), ast.parse(text)


def test_no_name_stands_elsewhere() -> None:
    alone = {*ENCODERS.ours} - ALSO
    assert alone == {"bucketize", "cyclic", "log1p", "minmax", "quantiles", "vocab"} | {
        "balanced", "weekday", "yearday",
    }  # fmt: skip
    found = [
        f"{path}:{node.lineno}: {node.value}"
        for path, tree in sources(alone)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in alone
    ]
    assert not found


def test_no_link_of_a_chain_is_compared_with_a_name() -> None:
    """Nothing looks at the `name` of a link but to ask for its record."""
    found = []
    for path, tree in sources(["[\"']name[\"']"]):
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                if "name" in texts and texts & {*ENCODERS.ours}:
                    found.append(f"{path}:{node.lineno}")
    assert not found


@pytest.mark.parametrize("name", ENCODERS.ours)
def test_a_record_is_whole(name: str) -> None:
    encoder = ENCODERS[name]
    assert isinstance(encoder, Encoder) and encoder.name == name
    assert encoder.doc and encoder.step and encoder.encode is not None, "ours see many rows at once"
    assert encoder.undo is not None or not encoder.changes_units


def test_checking_a_spec_imports_no_arrays() -> None:
    code = (
        "import sys\nfrom vflc_common.encoders import ENCODERS\n"
        "for encoder in ENCODERS: encoder.mistake(dict.fromkeys('name', 1) | "
        "{p.name: None for p in encoder.parameters}, encoder.reads[0])\n"
        "print([m for m in ('numpy', 'pyarrow', 'farmhash', 'vflc_runtime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
