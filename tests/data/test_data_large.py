"""More rows than memory has room for: shuffled in pieces, read from files, the same batches as in memory."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_runtime import memory, scratch
from vflc_runtime.data import batches as shuffling
from vflc_runtime.data import kept_keys as keeping
from vflc_runtime.data import staged
from vflc_runtime.data.batches import Order, beforehand, drawn, permutation, permuted, split
from vflc_runtime.data.column_buffer import Room
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.spread import ABSENT, KeySpread
from vflc_runtime.data.staged import from_files
from vflc_runtime.errors import Failure


@settings(max_examples=30)
@given(st.integers(1, 400), st.integers(0, 2**63), st.integers(1, 9))
def test_pieces_are_the_permutation(rows, seed, pieces):
    piece = -(-rows // pieces)
    with pytest.MonkeyPatch.context() as patch:
        whole, mask = permutation(rows, seed, "epoch 1"), drawn(rows, 0.3, seed, "x")
        patch.setattr(shuffling, "PIECE", piece)
        found = [*permuted(rows, seed, "epoch 1")]
        assert np.array_equal(np.concatenate(found), whole) and len(found) == -(-rows // piece)
        assert np.array_equal(drawn(rows, 0.3, seed, "x"), mask)


@settings(max_examples=30)
@given(
    st.integers(2, 300), st.integers(0, 99), st.floats(0, 0.9), st.integers(1, 40), st.booleans(), st.data()
)
def test_the_order_of_rows_does_not_depend_on_pieces(rows, seed, validation, batch, shuffle, data):
    train, kept = split(rows, seed, validation)
    batch = min(batch, len(train))
    given = None if data.draw(st.booleans()) else kept
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffling, "PIECE", 1 << 22)
        whole = Order(rows, seed, validation, batch, shuffle, kept=given)
        epoch = whole.epoch(2)
        patch.setattr(shuffling, "PIECE", -(-rows // data.draw(st.integers(1, 9))))
        order = Order(rows, seed, validation, batch, shuffle, kept=given)
        assert np.array_equal(order.held_out, kept) and np.array_equal(order.train, train)
        assert np.array_equal(order.epoch(2), epoch) and order.train_rows == len(train)
        first = data.draw(st.integers(0, order.steps))
        found = [*order.batches(2, first)]
        assert np.array_equal(np.concatenate([*found, epoch[:0]]), epoch[first * batch :])
        assert all(len(each) == batch for each in found[:-1])
        assert np.array_equal(np.concatenate([*order.in_order(7)]), train)


def test_equal_numbers_stay_in_order():
    assert shuffling._ascending(np.array([3, 1, 3, 1], np.uint64)).tolist() == [1, 3, 0, 2]


def on_disk(folder, name, array):
    array.tofile(folder / name)
    return np.memmap(folder / name, array.dtype, "r", shape=array.shape)


@settings(max_examples=12)
@given(seed=st.integers(0, 2**31))
def test_batches_from_files_are_those_in_memory(tmp_path_factory, seed):
    """Numbers, many ids and columns in memory; star keys, parties that lack rows or are dropped."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(seed)
    rows = 300
    own = {"a": rows, "b": 40, "c": 170}
    inputs = {
        f"{party}.{name}": array
        for party, n in own.items()
        for name, array in {
            "ids": rng.integers(0, 9, (n, 3), np.int32),
            "x": rng.random((n, 1), np.float32),
            "id": rng.integers(0, 9, n, np.int32),
        }.items()
    }
    at = {"b": rng.integers(0, 40, rows), "c": np.where(rng.random(rows) < 0.4, ABSENT, np.arange(rows) // 2)}
    once, present = ("b",) if seed % 2 else (), {"c.there": ("c", np.dtype(np.float32))}
    drop = {"c": rng.random(rows) < 0.3} if seed % 3 else {}
    mapped = {n: on_disk(folder, n, each) if seed % 5 or "x" in n else each for n, each in inputs.items()}
    memory_, files = (
        Dataset(rows, each, pa.array([]), {}, {}, at=at, once=once, present=present)
        for each in (inputs, mapped)
    )
    assert files.in_files and not memory_.in_files
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staged, "READ", int(rng.integers(1, 9000)))
        patch.setattr(staged, "MAPPED", int(rng.integers(1, 900)))
        batches = [*Order(rows, seed, 0.2, 32).batches(0)]
        found = [(rows, read()) for rows, read in from_files(files, iter(batches), drop)]
    assert len(found) == len(batches)
    for batch, (rows_, one) in zip(batches, found, strict=True):
        other = memory_.batch(batch, drop)
        assert np.array_equal(batch, rows_) and one.keys() == other.keys()
        for name, array in other.items():
            assert np.array_equal(one[name], array) and one[name].dtype == array.dtype, name
        assert one.spreads.keys() == other.spreads.keys()
        assert all(np.array_equal(one.spreads[p].at, each.at) for p, each in other.spreads.items())


def test_a_batch_without_rows_of_a_party_reads_its_first_one():
    own, at = staged._own(np.array([ABSENT, ABSENT]))
    assert own.tolist() == [0] and at.tolist() == [ABSENT, ABSENT]
    assert KeySpread.of(at).taken.tolist() == [0]


def test_what_fails_beforehand_fails_when_its_turn_comes():
    def parts():
        yield 1
        raise ValueError("no more")

    found = beforehand(parts())
    assert next(found) == 1
    with pytest.raises(ValueError, match="no more"):
        next(found)


@pytest.mark.parametrize("room", [0, 1 << 20], ids=["files", "memory"])
@pytest.mark.parametrize("large", [8, 1 << 31], ids=["large", "small"])
def test_keys_are_kept_as_they_are(tmp_path, monkeypatch, room, large):
    monkeypatch.setattr(keeping, "LARGE", large)
    keys = pa.array(["", "ä\x01\x02", "10", "", "x" * 300, "9"])
    blocks = [keys[:0], keys[:2], keys[2:5], pa.array([""]), pa.array([], pa.string()), keys[5:]]
    found, arrays = keeping.kept_keys(blocks, tmp_path, Room(room))
    found.validate(full=True)
    wanted = [key for block in blocks for key in block.to_pylist()]
    assert found.to_pylist() == wanted
    assert found.type == (pa.large_string() if large == 8 else pa.string())
    assert {isinstance(each, np.memmap) for each in arrays} == {room == 0}
    assert keeping.kept_keys([], tmp_path, Room(100))[0].to_pylist() == []


def test_scratch_is_its_owners_alone_and_goes(monkeypatch, tmp_path):
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="stop"), scratch.scratch_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "rows").write_text("secret")
        with scratch.scratch_folder() as other:
            assert other != folder and folder.exists(), "a folder whose process lives stays"
        raise ValueError("stop")
    assert not [*tmp_path.iterdir()]


def test_what_a_killed_process_left_behind_goes_with_the_next_start(tmp_path, monkeypatch):
    program = (
        "import os, sys, time\nfrom vflc_runtime.scratch import ScratchFolder\nmade = ScratchFolder()\n"
        "(made.path / 'rows').write_text('secret')\nprint(made.path, flush=True)\ntime.sleep(60)"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=env) as one:
        left = Path(one.stdout.readline().strip())
        os.kill(one.pid, signal.SIGKILL)
    elsewhere = tmp_path / "kept"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (tmp_path / "vflc-scratch-link").symlink_to(elsewhere)
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    assert left.exists()
    with scratch.scratch_folder():
        assert not left.exists() and (elsewhere / "lock").exists()


def test_what_is_anothers_stays(tmp_path, monkeypatch):
    """Of another host, whose locks may not be seen; made by hand; with a link in place of its lock."""
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch.platform, "node", lambda: "there")
    other = scratch.ScratchFolder()
    os.close(other._lock)
    monkeypatch.setattr(scratch.platform, "node", lambda: "here")
    left = scratch.ScratchFolder()
    os.close(left._lock)
    target = tmp_path / "target"
    target.write_text("here")
    target.chmod(0o644)
    for name, mode in {"hand": 0o755, "link": 0o700, "empty": 0o700}.items():
        (tmp_path / f"vflc-scratch-{name}").mkdir()
        (tmp_path / f"vflc-scratch-{name}").chmod(mode)
    (tmp_path / "vflc-scratch-hand" / "lock").write_text("here")
    (tmp_path / "vflc-scratch-link" / "lock").symlink_to(target)
    with scratch.scratch_folder():
        assert other.path.exists() and not left.path.exists()
        assert len([*tmp_path.glob("vflc-scratch-*")]) == 5 and stat.S_IMODE(target.stat().st_mode) == 0o644


def test_a_folder_that_cannot_be_locked_is_refused_and_gone(tmp_path, monkeypatch):
    def without_locks(file, flags):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch.fcntl, "flock", without_locks)
    with pytest.raises(Failure, match="No locks available") as caught:
        scratch.ScratchFolder()
    assert caught.value.code == "VFL0612" and not [*tmp_path.iterdir()]


def test_memory_for_tables_depends_on_columns_and_not_on_rows(monkeypatch):
    monkeypatch.setattr(memory, "half_of_memory", lambda: 1 << 40)
    assert memory.for_tables(5) == (512 + 20) << 20
    monkeypatch.setattr(memory, "half_of_memory", lambda: 1 << 28)
    assert memory.for_tables(5) == 1 << 28
