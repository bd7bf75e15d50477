"""An alignment is kept as long as no table changes, and only as long as all parties kept it."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from aligning import SHARED, controls, together
from vflc_common.control import ALIGNING
from vflc_runtime.alignment.kept import Kept
from vflc_runtime.alignment.keys import SortedKeys
from vflc_runtime.alignment.settings import AlignSettings

TABLES = {"alice": ["b", "a", "c", "d"], "bob": ["e", "d", "c", "b"], "carol": ["d", "b", "c", "x", "y"]}
COMMON = ["b", "c", "d"]


@pytest.fixture
def kept(tmp_path):
    """Aligns, each party with a folder of its own, and says whether keys were compared."""

    def run(tables=TABLES, method="psi", hub=None):
        how = {p: AlignSettings(hub=hub, key=SHARED, cache=tmp_path / p / "alignment") for p in tables}
        ended = together(method, tables, how)
        assert set(map(tuple, ended.keys(tables).values())) == {tuple(COMMON)}, ended.results
        compared = {kind for heard in ended.heard.values() for _, kind in heard} - {
            "align.hello",
            "align.check",
        }
        return bool(compared)

    return run


@pytest.mark.parametrize("method", ["hash", "psi"])
def test_it_is_found_again(kept, method):
    assert kept(method=method)
    assert not kept(method=method)
    assert not kept(method=method)


def test_another_table_method_or_company_aligns_anew(kept):
    assert kept()
    assert kept({**TABLES, "bob": ["d", "e", "c", "b"]}), "rows in another order"
    assert not kept({**TABLES, "bob": ["d", "e", "c", "b"]})
    assert kept({**TABLES, "carol": ["d", "b", "c", "x"]})
    assert kept(method="hash")
    assert kept({place: TABLES[place] for place in ("alice", "bob")})
    assert kept(), "what alice kept is of an alignment that bob and carol did not keep"
    assert not kept()


def test_a_party_that_forgot_is_heard(kept, tmp_path):
    assert kept()
    for file in (tmp_path / "bob").rglob("*.safetensors"):
        file.unlink()
    assert kept()
    for file in (tmp_path / "carol").rglob("*.safetensors"):
        file.write_bytes(b"damaged")
    assert kept()
    assert not kept()


@pytest.mark.parametrize(
    ("token", "positions", "kept_so"),
    [
        (32, [2, 0, 1], True),
        (32, [1], True),
        (31, [0, 1], False),
        (33, [0, 1], False),
        (32, [0, 3], False),
        (32, [-1, 0], False),
        (32, [0, 1, 2, 0], False),
        (32, [], False),
        (32, [[0, 1]], False),
        (32, [0.0, 1.0], False),
    ],
)
def test_what_cannot_have_been_kept_is_not_used(tmp_path, token, positions, kept_so):
    keys = SortedKeys("alice", pa.array(["a", "b", "c"]))
    Kept.open(tmp_path, "psi", "alice", ("bob",), keys).save(
        bytes(token), np.array(positions, None if positions else np.int64)
    )
    found = Kept.open(tmp_path, "psi", "alice", ("bob",), keys)
    assert (found.token is not None) == (found.positions is not None) == kept_so


def test_what_is_kept_holds_no_key(tmp_path):
    tables = {place: [f"customer {key}" for key in keys] for place, keys in TABLES.items()}
    how = {p: AlignSettings(key=SHARED, cache=tmp_path / p / "alignment") for p in tables}
    together("psi", tables, how)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 3 and {file.suffix for file in files} == {".safetensors"}
    assert not any(b"customer" in file.read_bytes() for file in files)


def test_the_page_tells_the_defaults():
    page = (Path(__file__).parents[2] / "docs" / "alignment.md").read_text("utf-8")
    (block,) = re.findall(r"```toml\n(\[align\].*?)```", page, re.DOTALL)
    told = "\n".join(line for line in block.splitlines() if "this is the default" in line)
    assert tomllib.loads(told) == {name: getattr(AlignSettings(), name) for name in ("reading", "rows")}


def test_the_manifest_declares_these_kinds():
    assert len(controls(TABLES)) == len(ALIGNING) * 6
