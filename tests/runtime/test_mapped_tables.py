"""Tables in files that are mapped into memory: the same bits, and no file that stays behind."""

from __future__ import annotations

import gc
import mmap
import os
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vflc_runtime import memory, tensors
from vflc_runtime.engines import table_memory
from vflc_runtime.engines.onnx import OnnxEngine
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

PAGE = mmap.PAGESIZE
SPEC = """
party bank {
  key ID
  feature user: int -> hash(3000)
  column  Late: int
  label   late = Late
}
party shop {
  key ID
  feature item: int -> hash(4000)
}
a = embed(bank.user, dim = 3)
b = embed(shop.item, dim = 8)
fuse at bank { logit = dense(concat(a, b), 1) }
predict late = sigmoid(logit)
objective bce(logit, bank.late) + l2(1e-3, a.tables)
train { optimizer ftrl(lr = 0.1) for b.*
        optimizer adam(lr = 0.01) }
release bank { to shop: late, user }
release shop { to bank: item }
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mapped") / "bundle"
    compile_source(SourceText("spec.vfl", SPEC)).write(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tables lie in files, however small."""
    (tmp_path / "tables").mkdir()
    monkeypatch.setenv(memory.LARGE, "0")
    monkeypatch.setenv(table_memory.SWITCH, str(tmp_path / "tables"))
    return tmp_path / "tables"


def trained(bundle: Path) -> tuple[Session, dict[str, Any]]:
    """A session after some steps, and the bits of its weights and slots."""
    session, draw = Session(bundle, programs=("train", "evaluate"), threads=1), np.random.default_rng(3)
    for step in range(6):
        batch: dict[str, Any] = {
            "bank.user": draw.integers(0, 3000, 32, np.int32),
            "shop.item": draw.integers(0, 4000, 32, np.int32),
            "bank.late": draw.integers(0, 2, (32, 1)).astype(np.float32),
        }
        session.step(batch)
        if step == 3:
            session.evaluate(batch)
    kept = {name: slot for engine in session.engines.values() for name, slot in engine.slots().items()}
    return session, {name: array.tobytes() for name, array in (session.weights() | kept).items()}


def mapped() -> int:
    """How many mapped files of this process have no name any more."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum("/tables/" in line and line.endswith("(deleted)") for line in lines)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system what is mapped")
def test_tables_in_files_train_to_the_same_bits(bundle: Path, folder: Path, monkeypatch: Any) -> None:
    session, found = trained(bundle)
    assert mapped() == 4, "two tables, and what is kept for the rows of each"
    assert [*folder.iterdir()] == []
    del session
    monkeypatch.setattr(table_memory, "half_of_memory", lambda: 1000)
    far, expected = trained(bundle)
    assert found == expected, "though they are asked for before they are read"
    del far
    monkeypatch.setenv(table_memory.SWITCH, "memory")
    usual, expected = trained(bundle)
    assert found == expected
    monkeypatch.delenv(memory.LARGE)
    monkeypatch.delenv(table_memory.SWITCH)
    small, expected = trained(bundle)
    assert found == expected
    assert mapped() == 0
    del usual, small


def test_tables_of_more_than_half_of_the_memory_lie_in_files(
    bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(table_memory.SWITCH)
    monkeypatch.setattr(table_memory, "USUAL", folder)
    for half, count in ((1 << 30, 0), (1000, 4)):
        monkeypatch.setattr(table_memory, "half_of_memory", lambda half=half: half)
        session = Session(bundle, programs=("train",))
        assert mapped() == count
        assert all(isinstance(engine, OnnxEngine) for engine in session.engines.values())
        del session


@pytest.mark.parametrize("name", ["gone", "file"])
def test_no_folder_for_tables(bundle: Path, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("x")
    monkeypatch.setenv(table_memory.SWITCH, str(folder / name))
    with pytest.raises(Failure, match="cannot lie in a file in") as caught:
        Session(bundle, programs=("train",))
    assert caught.value.code == "VFL0791"


def test_no_room_for_tables(bundle: Path, folder: Path) -> None:
    """Is known before the first step."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(Failure, match=r"tables of \d+\.\d MiB cannot lie in a file") as caught:
            Session(bundle, programs=("train",))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "VFL0791"
    assert [*folder.iterdir()] == []


def test_tables_of_all_places_count_together(
    bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the first place fit into half of the memory, and so would those of the second alone."""
    monkeypatch.delenv(table_memory.SWITCH)
    monkeypatch.setattr(table_memory, "USUAL", folder)
    gc.collect()
    before = table_memory.IN_MEMORY.bytes
    monkeypatch.setattr(table_memory, "half_of_memory", lambda: before + 400_000)
    session = Session(bundle, programs=("train",))
    assert mapped() == 2
    assert table_memory.IN_MEMORY.bytes > before
    del session
    gc.collect()
    assert table_memory.IN_MEMORY.bytes == before


GROUPS = {
    "none": ("", {}, []),
    "version 2": ("0::/a/b\n", {"a/memory.max": "700\n", "a/b/memory.max": "max\n"}, [700]),
    "version 1": (
        "9:cpu:/a\n4:rdma,memory:/a\n0::/\n",
        {"memory/memory.limit_in_bytes": "900", "memory/a/memory.limit_in_bytes": "800", "a/memory.max": "1"},
        [900, 800],
    ),
    "a container, whose host has another name": ("4:memory:/docker/x\n", {
        "memory/memory.limit_in_bytes": "500",
    }, [500]),
    "a container, of version 2": ("0::/../../x\n", {"memory.max": "600"}, [600]),
    "odd names": (
        "\nrubbish\n1:name=\udcff:/\n0::/a\x0b:\udcff\n", {"a\x0b:\udcff/memory.max": "5"}, [5],
    ),
    "no numbers": (
        "0::/a/b/c\n", {"memory.max": "²", "a/memory.max": "9" * 5000, "a/b/memory.max": "-1"}, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPS)
def test_memory_is_what_control_groups_leave(name: str, tmp_path: Path) -> None:
    text, found, expected = GROUPS[name]
    (tmp_path / "cgroup").write_bytes(os.fsencode(text))
    for file, said in found.items():
        (tmp_path / "mounted" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounted" / file).write_text(said)
    assert [*memory._limits(tmp_path / "cgroup", tmp_path / "mounted")] == expected
    assert [*memory._limits(tmp_path / "gone", tmp_path / "mounted")] == []


class Recorded(memory.FarFile):
    """Notes what it is asked for."""

    def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
        self.asked = [*getattr(self, "asked", []), (start // PAGE, length // PAGE)]
        super().madvise(option, start, length)


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="needs madvise")
def test_rows_are_asked_for_page_by_page(tmp_path: Path) -> None:
    """Each page once, those beside one another together, whatever part of the rows it is."""
    with (tmp_path / "f").open("w+b") as file:
        file.truncate(40 * PAGE)
        mapped = Recorded(file.fileno(), 40 * PAGE)
    table = np.frombuffer(mapped, np.float32).reshape(-1, PAGE // 16)  # four rows a page
    for array, first in ((table, 0), (table[:, 8:], 0), (table[4:][:, :9], 1)):
        mapped.asked = []
        memory.ask_for(array, np.array([0, 1, 30, 100, 97, 104]))
        assert mapped.asked == [(first, 1), (first + 7, 1), (first + 24, 3)]
    mapped.asked = []
    memory.ask_for(table.copy(), np.arange(3))
    memory.ask_for(table, np.arange(0))
    wide = np.frombuffer(mapped, np.float32)[: 35 * PAGE // 4].reshape(-1, 7 * PAGE // 16)
    memory.ask_for(wide, np.array([1, 3]))  # a row is of more than one page, and begins amid one
    assert mapped.asked == [(1, 3), (5, 2)]
    assert sum(len(b) for b in tensors.blocks(table)) == len(table)


@pytest.mark.parametrize("kind", ["lies", "made"])
def test_what_is_put_into_a_file_is_asked_for_before(kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tensors, "BLOCK_BYTES", 2 * PAGE)
    with (tmp_path / "f").open("w+b") as file:
        file.truncate(16 * PAGE)
        mapped = Recorded(file.fileno(), 16 * PAGE)
    table = np.frombuffer(mapped, np.float32).reshape(-1, PAGE // 4)
    given = np.random.default_rng(1).random((16, 8)).astype(np.float32)
    at, rows = np.array([2, 11]), np.ones((2, 8), np.float32)
    tensors.put(table[:, 8:16], given if kind == "lies" else tensors.with_rows(given, [(at, rows)]))
    if kind == "made":
        given[at] = rows
    np.testing.assert_array_equal(table[:, 8:16], given)
    assert not table[:, :8].any() and not table[:, 16:].any()
    assert sum(count for _, count in mapped.asked) == 16
