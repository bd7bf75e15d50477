"""What `prepare.py` makes of the published forms of Census Income and Criteo, and what it says of others."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from forked import completed
from specs.examples import EXAMPLES, prepared

TRAIN = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, "
    "40, United-States, <=50K\n"
    "50, ?, 83311, HS-grad, 9, Married-civ-spouse, ?, Husband, White, Male, 0, 0, 13, ?, >50K\n\n"
)
TEST = "|1x3 Cross validator\n" + TRAIN.replace("K\n", "K.\n")
CLICKS = (
    "\t".join(["0", "1", "", *["2"] * 11, "68fd1e64", "", *["0b153874"] * 24])
    + "\n"
    + "\t".join(["1", "", "-2", *["3"] * 11, *["a73ee510"] * 25, ""])
    + "\n"
)


def census(folder: Path, **changed: str) -> Path:
    folder.mkdir()
    for name, text in {"data": TRAIN, "test": TEST, **changed}.items():
        (folder / f"adult.{name}").write_text(text)
    return folder


def by_key(file: str | Path, key: str) -> list[dict[str, Any]]:
    return sorted(pq.read_table(file).to_pylist(), key=lambda row: row[key])


def failed(name: str, source: Path, out: Path) -> str:
    script = EXAMPLES[name].parent / "prepare.py"
    done = completed(script, "--from", source, "--out", out)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not [file for file in out.glob("**/*") if file.is_file()]
    return done.stderr


def test_census_income_becomes_training_and_test_tables(tmp_path: Path):
    folder = census(tmp_path / "census")
    with zipfile.ZipFile(tmp_path / "adult.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    for number, source in enumerate((folder, tmp_path / "adult.zip")):
        out = tmp_path / f"out{number}"
        prepared("mmoe", out, "--from", source)
        assert by_key(out / "alice.parquet", "person") == [
            {
                "person": 1, "workclass": "State-gov", "fnlwgt": 77516, "education": "Bachelors",
                "education_num": 13, "marital_status": "Never-married", "relationship": "Not-in-family",
                "race": "White", "capital_gain": 2174, "capital_loss": 0, "hours_per_week": 40,
                "income": "<=50K",
            },
            {
                "person": 2, "workclass": "?", "fnlwgt": 83311, "education": "HS-grad", "education_num": 9,
                "marital_status": "Married-civ-spouse", "relationship": "Husband", "race": "White",
                "capital_gain": 0, "capital_loss": 0, "hours_per_week": 13, "income": ">50K",
            },
        ]  # fmt: skip
        bob = by_key(out / "test" / "bob.parquet", "person")
        assert [row["person"] for row in bob] == [3, 4], "keys go on, so that no two rows have one"
        assert bob[1] == {
            "person": 4, "age": 50, "sex": "Male", "occupation": "?", "native_country": "?",
        }  # fmt: skip
        income = [row["income"] for row in by_key(out / "test" / "alice.parquet", "person")]
        assert income == ["<=50K", ">50K"], "the test file's full stop is no part of the class"


def test_users_have_a_row_each_and_some_have_none(tmp_path: Path):
    sources = prepared("one_to_many", tmp_path, "--generate", 500)
    users, events = (pq.read_table(sources[party]) for party in ("alice", "bob"))
    known = users["UserID"].to_pylist()
    assert len(known) == len({*known}) and len(events) == 500
    assert {*events["UserID"].to_pylist()} - {*known} == {
        user for user in events["UserID"].to_pylist() if user % 10 == 0
    }


def test_what_is_no_census_income_is_said(tmp_path: Path):
    assert "adult.data, line 1: 15 fields" in failed(
        "mmoe", census(tmp_path / "few", data="39, State-gov\n"), tmp_path / "out"
    )
    assert "adult.data is empty" in failed("mmoe", census(tmp_path / "none", data="\n"), tmp_path / "out")
    words = census(tmp_path / "words", data=TRAIN.replace("39,", "old,"))
    assert "a number is none" in failed("mmoe", words, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "holds no adult.data" in failed("mmoe", tmp_path / "empty", tmp_path / "out")


def test_criteo_comes_as_a_file_a_folder_or_an_archive(tmp_path: Path):
    (tmp_path / "dac").mkdir()
    text = tmp_path / "dac" / "train.txt"
    text.write_text(CLICKS)
    with zipfile.ZipFile(tmp_path / "dac.zip", "w") as archive:
        archive.write(text, "dac/train.txt")
    with tarfile.open(tmp_path / "dac.tar.gz", "w:gz") as packed:
        packed.add(text, "train.txt")
    for source in ("dac/train.txt", "dac", "dac.zip", "dac.tar.gz"):
        out = tmp_path / "out" / source.replace("/", "_")
        prepared("wide_deep", out, "--from", tmp_path / source)
        leader, follower = (by_key(out / f"{party}.parquet", "row") for party in ("leader", "follower"))
        assert [(row["row"], row["label"], row["I1"], row["I2"]) for row in leader] == [
            (0, 0, 1.0, None), (1, 1, None, -2.0),
        ]  # fmt: skip
        assert [(row["C1"], row["C2"], row["C7"]) for row in leader] == [
            ("68fd1e64", None, "0b153874"), ("a73ee510", "a73ee510", "a73ee510"),
        ]  # fmt: skip
        assert [(row["C8"], row["C26"]) for row in follower] == [
            ("0b153874", "0b153874"), ("a73ee510", None),
        ]  # fmt: skip
        assert len(leader[0]) == 1 + 1 + 13 + 7
        assert len(follower[0]) == 1 + 19


def test_what_is_no_criteo_file_is_said(tmp_path: Path):
    (tmp_path / "short.txt").write_text("0\t1\t2\n")
    assert "40" in failed("wide_deep", tmp_path / "short.txt", tmp_path / "out")
    (tmp_path / "words.txt").write_text(CLICKS.replace("-2", "many"))
    assert "many" in failed("wide_deep", tmp_path / "words.txt", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "nothing")
    assert "holds no train.txt" in failed("wide_deep", tmp_path / "other.zip", tmp_path / "out")
    assert "there is no file" in failed("wide_deep", tmp_path / "absent", tmp_path / "out")
