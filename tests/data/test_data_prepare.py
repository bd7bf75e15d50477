"""specs/deepfm/prepare.py: the published files or rows like them become two tables; mistakes are said."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import completed

SCRIPT = Path(__file__).resolve().parents[2] / "specs" / "deepfm" / "prepare.py"
USERS = "1::F::1::10::48067\n7::M::35::1::06810\n"
MOVIES = "2::Ben :: Hur (1959)::Drama\n31::Léon: The (1994)::Crime|Drama\n"
RATINGS = "1::31::5::978300760\n7::2::3::978302109\n7::31::1::978301968\n"


def folder(path, **changed):
    files = {"users": USERS, "movies": MOVIES.replace(" :: ", ": "), "ratings": RATINGS, **changed}
    path.mkdir()
    for name, text in files.items():
        if text is not None:
            (path / f"{name}.dat").write_text(text, encoding="latin-1")
    return path


def rows(directory):
    tables = [pq.read_table(directory / f"{party}.parquet") for party in ("alice", "bob")]
    return [sorted(table.to_pylist(), key=lambda row: row["ID"]) for table in tables]


def test_the_archive_and_its_folder_give_the_same_tables(tmp_path):
    unpacked = folder(tmp_path / "ml-1m")
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        for file in unpacked.iterdir():
            archive.write(file, f"ml-1m/{file.name}")
    for source in (unpacked, tmp_path, tmp_path / "ml-1m.zip"):
        out = tmp_path / "out" / source.name
        done = completed(SCRIPT, "--from", source, "--out", out)
        assert done.returncode == 0, done.stderr
        alice, bob = rows(out)
        assert alice == [
            {"ID": 1, "UserID": 1, "Gender": "F", "Age": 1, "Occupation": 10},
            {"ID": 2, "UserID": 7, "Gender": "M", "Age": 35, "Occupation": 1},
            {"ID": 3, "UserID": 7, "Gender": "M", "Age": 35, "Occupation": 1},
        ]
        assert bob == [
            {"ID": 1, "MovieID": 31, "Genres": "Crime|Drama", "Rating": 5},
            {"ID": 2, "MovieID": 2, "Genres": "Drama", "Rating": 3},
            {"ID": 3, "MovieID": 31, "Genres": "Crime|Drama", "Rating": 1},
        ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ratings": None}, "holds no ratings.dat"),
        ({"users": ""}, "users.dat is empty"),
        ({"ratings": ""}, "ratings.dat"),
        ({"movies": "1,Title,Drama\n"}, "movies.dat, line 1"),
        ({"users": USERS + "8::M::old::3::0\n"}, "users.dat: an age"),
        ({"ratings": RATINGS + "7::31::five::0\n"}, "ratings.dat is not"),
        ({"ratings": RATINGS + "7::31\n"}, "ratings.dat is not"),
        ({"ratings": RATINGS + "99::31::5::0\n"}, "ratings.dat, line 4: user 99 is not in users.dat"),
        ({"ratings": RATINGS + "7::99::5::0\n"}, "ratings.dat, line 4: movie 99 is not in movies.dat"),
    ],
)
def test_wrong_files_are_named(tmp_path, changed, said):
    done = completed(SCRIPT, "--from", folder(tmp_path / "data", **changed), "--out", tmp_path / "out")
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_wrong_arguments_are_said(tmp_path):
    (tmp_path / "file").write_text("no archive")
    for arguments, said in (
        (["--from", tmp_path / "nothing"], "no file or folder"),
        (["--from", tmp_path / "file"], "not a zip archive"),
        (["--generate", "0"], "at least one row"),
        (["--generate", "10", "--seed", "-1"], "0 or more"),
        ([], "--from --generate"),
    ):
        done = completed(SCRIPT, *arguments, "--out", tmp_path / "out")
        assert done.returncode in (1, 2) and said in done.stderr and "Traceback" not in done.stderr
    done = completed(SCRIPT, "--generate", "10", "--out", tmp_path / "file")
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_generated_rows_have_the_published_form_and_a_signal(tmp_path):
    for seed, count in ((1, 20000), (2, 100)):
        done = completed(SCRIPT, "--generate", count, "--seed", seed, "--out", tmp_path / str(seed))
        assert done.returncode == 0, done.stderr
    again = completed(SCRIPT, "--generate", 100, "--seed", 2, "--out", tmp_path / "again")
    assert again.returncode == 0 and rows(tmp_path / "again") == rows(tmp_path / "2")
    alice, bob = (pq.read_table(tmp_path / "1" / f"{party}.parquet") for party in ("alice", "bob"))
    assert alice.schema.names == ["ID", "UserID", "Gender", "Age", "Occupation"]
    assert bob.schema.names == ["ID", "MovieID", "Genres", "Rating"]
    assert alice.num_rows == bob.num_rows == 20000 and alice["ID"] != bob["ID"]
    assert {alice.schema.field(n).type for n in ("UserID", "Gender")} == {pa.int64(), pa.string()}
    assert set(alice["Age"].to_pylist()) == {1, 18, 25, 35, 45, 50, 56}
    assert set(bob["Rating"].to_pylist()) == {1, 2, 3, 4, 5}
    liked = bob["Rating"].to_numpy() > 3
    assert 0.5 < liked.mean() < 0.65
    # A profile and a genre together say more than either alone.
    both = _joined(alice, bob)
    spread = {name: _spread(groups, both["liked"]) for name, groups in both.items() if name != "liked"}
    assert spread["together"] > 2 * max(spread["profile"], spread["genres"])


def _joined(alice, bob):
    alice, bob = alice.sort_by("ID"), bob.sort_by("ID")
    profile = [f"{g} {a}" for g, a in zip(alice["Gender"].to_pylist(), alice["Age"].to_pylist(), strict=True)]
    genre = [genres.split("|")[0] for genres in bob["Genres"].to_pylist()]
    together = [f"{p} {g}" for p, g in zip(profile, genre, strict=True)]
    return {"profile": profile, "genres": genre, "together": together, "liked": bob["Rating"].to_numpy() > 3}


def _spread(groups, liked):
    """Variance of the share of liked rows over groups, without what chance alone would make."""
    _, codes = np.unique(groups, return_inverse=True)
    count = np.bincount(codes)
    share = np.bincount(codes, liked) / count
    chance = (share * (1 - share) / np.maximum(count - 1, 1) * count).sum() / count.sum()
    return float((count * (share - liked.mean()) ** 2).sum() / count.sum() - chance)


@pytest.mark.skipif("VFLC_DATA" not in os.environ, reason="VFLC_DATA does not name the measuring data")
def test_the_published_data(tmp_path):
    done = completed(SCRIPT, "--from", Path(os.environ["VFLC_DATA"]) / "ml-1m", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    alice, bob = (pq.read_table(tmp_path / f"{party}.parquet") for party in ("alice", "bob"))
    assert alice.num_rows == bob.num_rows == 1_000_209
    assert len(alice["UserID"].unique()) == 6040 and len(bob["MovieID"].unique()) == 3706
    assert np.bincount(bob["Rating"].to_numpy()).tolist() == [0, 56174, 107557, 261197, 348971, 226310]
    assert len({g for genres in bob["Genres"].unique().to_pylist() for g in genres.split("|")}) == 18
