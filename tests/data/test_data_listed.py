"""`vocab("stores.txt")`: a vocabulary from a file beside the spec, which other parties need not have."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from vflc_common.listed import MOST_LISTED, ListedError, values_of
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure

from vflc.cli.main import run
from vflc.diagnostics import Refused
from vflc.driver import check, compile_spec

VALUES = "Oslo\r\nBergen\n\u00e9t\u00e9\n"
SHA = hashlib.sha256(VALUES.encode()).hexdigest()
KNOWN = f'"in/stores.txt", sha256 = "{SHA}", size = 3'
SPEC = """
party alice {
  key k
  feature shop: string -> vocab(FILE, default = other)
  feature again: list(string) -> vocab(FILE, default = other)
}
party bob { key k  label y: int }
h = mlp(flatten(embed([alice.shop, alice.again], dim = 2)), [3])
logit = dense(h, 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
release alice { to bob: shop at most 2 bits, again }
release bob { to alice: y }
train { batch 8 }
"""


def written(folder: Path, spec: str, values: str | bytes | None = VALUES) -> Path:
    (folder / "in").mkdir(parents=True, exist_ok=True)
    (folder / "m.vfl").write_text(spec)
    if values is not None:
        content = values.encode() if isinstance(values, str) else values
        (folder / "in/stores.txt").write_bytes(content)
    return folder / "m.vfl"


def codes(path: Path) -> list[str]:
    return [f"{found.code} {found.message}" for found in check(path) if found.level == "error"]


def test_a_party_without_the_file_compiles_the_same_digest(tmp_path):
    spec = SPEC.replace("FILE", KNOWN)
    with_file = compile_spec(written(tmp_path / "a", spec))
    without = compile_spec(written(tmp_path / "b", spec, None))
    assert with_file.manifest == without.manifest
    name = f"alice/stores-{SHA[:12]}.txt"
    assert with_file.files[name] == VALUES.encode() and name not in without.files
    files = {name: content for name, content in with_file.files.items() if not name.endswith(".txt")}
    assert not any(b"Bergen" in content for content in files.values())
    page = with_file.files["manifest.md"].decode()
    assert f"| alice | shop | in/stores.txt | `{SHA}` | 3 |" in page
    without.write(tmp_path / "bundle")
    assert open_bundle(tmp_path / "bundle", ("bob",)).plans["bob"].encoders
    with pytest.raises(Failure, match=r"stores-.*\.txt is missing: the values of stores\.txt,") as failed:
        open_bundle(tmp_path / "bundle")
    assert f"put stores.txt, with the SHA-256 {SHA}, where the spec names it" in failed.value.help


def test_it_trains_predicts_exports_and_is_checked_like_all_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, SPEC.replace("FILE", '"in/stores.txt"'))
    shops = ["Oslo", "Bergen", "e\u0301te\u0301", "nowhere", None] * 6
    rows = [{"k": i, "shop": shop, "again": [shop, "Oslo"]} for i, shop in enumerate(shops)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "b.csv").write_text("k,y\n" + "".join(f"{i},{i % 2}\n" for i in range(30)))
    data = ["--data", "alice=a.jsonl", "--data", "bob=b.csv"]
    for command in (
        ["compile", "m.vfl", "-o", "bundle"],
        ["train", "bundle", *data, "--out", "run", "--epochs", "1"],
        ["predict", "run", *data, "-o", "p.csv"],
        ["export", "run", "-o", "models", *data],
    ):
        assert run(command) == 0, command
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["data"]["encoders"]["alice.shop"]["unknown"] == 6
    described = json.loads((tmp_path / "models/alice/predict.json").read_text())
    steps = [step for given in described["inputs"] for step in (*given["before"], *given["inside"])]
    assert all(
        step == {"name": "vocab", "values": ["Oslo", "Bergen", "été"], "default": "other"} for step in steps
    )
    shutil.rmtree("in")
    assert run(["predict", "run", *data, "-o", "p2.csv"]) == 0, "the bundle has a copy"
    name = next((tmp_path / "bundle/alice").glob("stores-*.txt"))
    name.write_text("Oslo\nBergen\nother\n")
    with pytest.raises(Failure, match="was changed after it was compiled"):
        open_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a\n\nb\n", "has no value in line 2"),
        (b"a\nb\na\n", "the same value in lines 1 and 3"),
        ("e\u0301\n\u00e9\n".encode(), "the same value in lines 1 and 2"),
        (b"", "has no values"),
        (b"a\n\xff\n", "is not UTF-8, in line 2"),
        (b"a\0b\n", "a zero byte in line 1"),
        (b"x" * 10_001, "10,001 characters in line 1"),
        (b"a\nb\n", "has 2 values, not 3"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path, content, says):
    spec = written(tmp_path, SPEC.replace("FILE", '"in/stores.txt", size = 3'), content)
    assert says in codes(spec)[0] and codes(spec)[0].startswith("VFL0721")


def test_more_lines_than_a_vocabulary_may_have_are_refused():
    with pytest.raises(ListedError, match="has more than"):
        values_of(b"a\n" * (MOST_LISTED + 1))


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ('"../stores.txt"', "VFL0108"),
        ('"/etc/passwd.txt"', "VFL0108"),
        ('"in/missing.txt"', "VFL0108"),
        (f'"in/missing.txt", sha256 = "{SHA}"', "VFL0108"),
        (f'"../x.txt", sha256 = "{SHA}", size = 3', "VFL0108"),
        ('"in/link.txt"', "VFL0108"),
        ('"in/a\\0b.txt"', "VFL0108"),
        ('"in.txt"', "VFL0108"),
        (f'"in/stores.txt", sha256 = "{"0" * 64}"', "VFL0722"),
        ('"in/stores.txt", sha256 = "no"', "VFL0205"),
        ('"in/stores.txt", size = "3"', "VFL0205"),
        ('"in/stores.txt", max = 3', "VFL0205"),
        ('"a", "b", size = 3', "VFL0205"),
        ('file = "in/stores.txt"', "VFL0107"),
    ],
)
def test_what_may_not_be_read_is_not_opened(tmp_path, file, code):
    (tmp_path / "secret.txt").write_text("secret\n")
    spec = written(tmp_path / "spec", SPEC.replace("FILE", file))
    (tmp_path / "spec/in.txt").mkdir()
    (tmp_path / "spec/in/link.txt").symlink_to(tmp_path / "secret.txt")
    found = codes(spec)
    assert found[0].startswith(code) and "secret" not in "".join(found)


def test_a_label_lists_its_classes(tmp_path):
    text = SPEC.replace("FILE", '"in/stores.txt"').replace(
        "label y: int", 'label y: string -> vocab("in/stores.txt")'
    )
    assert codes(written(tmp_path, text))[0].startswith("VFL0214")


def test_values_that_only_look_like_a_file_stay_values(tmp_path):
    text = SPEC.replace("vocab(FILE, default = other)", 'vocab("a.txt", "b.txt")', 1).replace("FILE", KNOWN)
    bundle = compile_spec(written(tmp_path, text))
    columns = json.loads(bundle.files["alice/encoders.json"])["parties"]["alice"]["columns"]
    assert columns[0]["encoders"][0]["values"] == ["a.txt", "b.txt"]
    with pytest.raises(Refused):
        compile_spec(written(tmp_path, text.replace('"b.txt"', '"a.txt"')))
