"""What is freed again and again is not asked for again and again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FREES = """
import resource
{first}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    before = faults()
    for _ in range(20):
        kept = [b"".join((b"x", bytes(200_000))) for _ in range(10)]
        del kept
print(faults() - before)
"""


def faults(first: str) -> int:
    """Pages that 4 MB in blocks of 200 kB ask for, freed and taken 20 times, after the first round."""
    done = subprocess.run(
        [sys.executable, "-c", _FREES.format(first=first)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's bounds")
def test_messages_find_the_pages_of_those_before_them() -> None:
    """Without it, some 500 pages a time."""
    kept = faults("from vflc_runtime.memory import keep_freed; keep_freed()")
    assert kept < 1000 < faults("import vflc_runtime.memory")
