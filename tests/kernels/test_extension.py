"""The extension: built where a compiler is, switched off, refused where it is of other sources."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vflc_kernels
from vflc_kernels.programs import MEANINGS
from vflc_kernels.sources import digest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_extension_is_built_where_a_compiler_is() -> None:
    assert vflc_kernels.why_not() == ""
    assert vflc_kernels.library() is not None


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFLC_KERNELS", "off")
    assert vflc_kernels.library() is None
    assert vflc_kernels.why_not() == "VFLC_KERNELS is off"


def test_not_built_or_not_loadable(tmp_path: Path) -> None:
    """In a package of its own, as the answer is kept for the process."""
    for path in (ROOT / "runtime" / "vflc_kernels").glob("*.py"):
        (tmp_path / "vflc_kernels").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "vflc_kernels")
    ask = [sys.executable, "-c", "import vflc_kernels as k; print(k.why_not()); assert k.library() is None"]

    def answer() -> str:
        done = subprocess.run(
            ask, env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert answer() == "vflc was installed without a C++ compiler"
    (tmp_path / "vflc_kernels" / "_kernels.abi3.so").write_bytes(b"no library")
    assert answer() == "_kernels.abi3.so cannot be loaded on this machine"


def test_digest_tells_sources_apart(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text("one")
    one = digest(tmp_path)
    (tmp_path / "notes.txt").write_text("no source")
    assert digest(tmp_path) == one
    (tmp_path / "a.cpp").write_text("two")
    assert digest(tmp_path) != one


def test_instructions_have_the_same_order_in_both_languages() -> None:
    header = (ROOT / "runtime" / "vflc_kernels" / "src" / "arithmetic.h").read_text("utf-8")
    found = [(name, int(count)) for name, count in re.findall(r"^  of\((\w+), (\d),", header, re.MULTILINE)]
    assert found == [(name, count) for name, (count, _) in MEANINGS.items()]
