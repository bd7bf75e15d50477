"""`vflc align`: tables at hand, and tables of processes that meet over a network."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import Command
from threads import Exchange
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.bundle.manifest import read_manifest
from vflc_runtime.errors import Failure
from vflc_runtime.events import Aligning, silent
from vflc_runtime.party.align import align_party
from vflc_runtime.party.site import Site

from vflc.cli.main import run
from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """party alice { key ID feature a: float -> standardize }
party bob { key id feature b: string -> hash(8) column Rating: int label liked = Rating > 3 }
party carol { key Key feature c: float -> standardize }
party mixer {}
x = dense(alice.a, 2)
y = dense(flatten(embed(bob.features, dim = 2)), 2)
z = dense(carol.c, 2)
fuse at mixer { h = dense(x + y + z, 2) }
logit = dense(h, 1)
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { optimizer sgd(lr = 0.1) batch 4 epochs 1 }
release alice { to bob, carol, mixer: a }
release carol { to alice, bob, mixer: c }
release bob { to alice, carol, mixer: b, liked }
"""
TABLES = {
    "alice": {"ID": ["4", "1", "3", "2"], "a": [0.4, 0.1, 0.3, 0.2], "unused": [1, 2, 3, 4]},
    "bob": {"id": [9, 3, 2, 4], "b": ["n", "t", "z", "f"], "Rating": [1, 5, 2, 4]},
    "carol": {"Key": [2.0, 3.0, 4.0, 8.0], "c": [2.2, 3.3, 4.4, 8.8]},
}
OTHERS = {
    "alice": {"ID": ["4", "3", "2"], "a": [0.4, 0.3, 0.2]},
    "bob": {"id": ["4", "3", "2"], "b": ["f", "t", "z"], "Rating": [4, 5, 2]},
    "carol": {"Key": ["4", "3", "2"], "c": [4.4, 3.3, 2.2]},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "model"
    compile_source(SourceText("model.vfl", SPEC)).write(folder)
    return folder


@pytest.fixture
def tables(tmp_path):
    for party, columns in TABLES.items():
        with (tmp_path / f"{party}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    return tmp_path


def sources(folder):
    return [part for party in TABLES for part in ("--data", f"{party}={folder / party}.csv")]


def printed(capsys, *arguments):
    code = run(["align", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_tables_at_hand(bundle, tables, capsys):
    code, out, _ = printed(capsys, bundle, *sources(tables), "--json")
    found = json.loads(out)
    # In a text file a key is the text as it stands: carol's 2.0 is not bob's 2.
    assert code == 1 and found["common"] == 0 and found["problem"] == "VFL0606"
    assert found["nearly"] == {"without a fraction of zeros": 3}
    names = {"alice": "ID", "bob": "id"}
    keys = [part for party, column in names.items() for part in ("--key", f"{party}={column}")]
    two = sources(tables)[:4]
    code, out, err = printed(capsys, *two, *keys, "--json")
    assert (code, err) == (0, "") and json.loads(out) == {
        "parties": {
            "alice": {"rows": 4, "blank": 0, "doubled": 0, "kept": 3, "dropped": 1},
            "bob": {"rows": 4, "blank": 0, "doubled": 0, "kept": 3, "dropped": 1},
        },
        "common": 3,
        "nearly": {},
        "problem": None,
    }
    code, out, _ = printed(capsys, *two, *keys)
    assert code == 0 and "keys that all parties have: 3" in out and "more" not in out


def test_keys_that_a_run_would_refuse_are_counted(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("ID\nx\nx\n\n y\nZ\n01\n")
    (tmp_path / "b.csv").write_text('ID\nx\ny\nz\n1\n"  "\n""\n')
    two = ["--data", f"a={tmp_path / 'a.csv'}", "--data", f"b={tmp_path / 'b.csv'}", "--key", "ID"]
    code, out, _ = printed(capsys, *two, "--json")
    found = json.loads(out)
    assert code == 1 and found["problem"] in ("VFL0605", "VFL0616")
    assert found["parties"]["a"] | {"rows": 0, "blank": 0, "dropped": 0} == {
        "rows": 0, "blank": 0, "doubled": 2, "kept": 2, "dropped": 0,
    }  # fmt: skip
    assert found["parties"]["b"]["blank"] == 2 and found["parties"]["b"]["kept"] == 1
    assert found["nearly"] == {
        "without the white space around them": 1,
        "as they look, without characters that do not show": 1,
        "with upper and lower case as one": 1,
        "without leading zeros": 1,
    }
    code, out, err = printed(capsys, *two)
    assert code == 1 and "without key" in out and "error[VFL06" in err


def test_keys_that_look_alike_and_differ_are_told_apart(tmp_path, capsys):
    """The two Unicode forms of one letter are one key; what does not show is part of a key, and said."""
    (tmp_path / "a.csv").write_text("ID\nJos\u00e9\n\u200bzed\nred \u00a0\n")
    (tmp_path / "b.csv").write_text("ID\nJose\u0301\nzed\nred\n")
    two = ["--data", f"a={tmp_path / 'a.csv'}", "--data", f"b={tmp_path / 'b.csv'}", "--key", "ID"]
    found = json.loads(printed(capsys, *two, "--json")[1])
    assert found["common"] == 1
    assert found["nearly"] == {"as they look, without characters that do not show": 2}
    (tmp_path / "a.csv").write_text("ID\n\u200bzed\n")
    (tmp_path / "b.csv").write_text("ID\nzed\n")
    _, _, err = printed(capsys, *two)
    assert "a.ID has '\\u200bzed', b.ID has 'zed'" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--data PARTY=SOURCE"),
        (["--data", "a=a.csv"], "which column is the key of a"),
        (["--data", "a=a.csv", "--key", "b=ID"], "names a party without --data"),
        (["--data", "a=a.csv", "--key", "ID", "--key", "x"], "given twice for all"),
        (["--data", "a=a.csv", "--key", "ID", "--insecure"], "needs --deploy"),
        (["alice", "--deploy", "deploy.toml"], "vflc align NAME BUNDLE --deploy"),
    ],
)
def test_usage(arguments, said, capsys):
    code, _, err = printed(capsys, *arguments)
    assert code == 2 and said in err


def test_a_key_beside_a_spec_is_one_too_many(bundle, capsys):
    assert printed(capsys, bundle, "--data", "alice=a.csv", "--key", "ID")[0] == 2
    code, _, err = printed(capsys, bundle, "--data", "alice=a.csv")
    assert code == 1 and "VFL0618" in err


def meet(bundle, method, tables, out, **changed):
    """Every party with a table aligns in a thread; the rows it wrote, or its failure."""
    if method == "psi":
        pytest.importorskip("private_set_intersection.python", reason="needs vflc[psi]")
    manifest = read_manifest(bundle / "manifest.json")
    exchange, results = Exchange(tables, manifest.controls), {}
    settings = AlignSettings(key=b"shared by all of them", threads=1)

    def work(place):
        site = Site(place, pa.table(tables[place]), lambda *_: exchange.join(place, 10.0), method, settings,
                    "onnx", 1, silent)  # fmt: skip
        try:
            site = replace(site, **changed.get(place, {}))
            counts = align_party(bundle, site, out / f"{place}.parquet")
            results[place] = counts, pq.read_table(out / f"{place}.parquet").to_pydict()
        except Failure as failure:
            results[place] = failure

    threads = [Thread(target=work, args=(place,), daemon=True) for place in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.parametrize("method", ["hash", "psi"])
def test_parties_write_their_common_rows_in_one_order(bundle, tmp_path, method):
    """The place without a table takes no part; columns that the bundle does not read are left out."""
    found = meet(bundle, method, TABLES, tmp_path)
    assert {place: rows for place, (_, rows) in found.items()} == {
        "alice": {"ID": ["2", "3", "4"], "a": [0.2, 0.3, 0.4]},
        "bob": {"id": [2, 3, 4], "b": ["z", "t", "f"], "Rating": [2, 5, 4]},
        "carol": {"Key": [2.0, 3.0, 4.0], "c": [2.2, 3.3, 4.4]},
    }
    counts = found["bob"][0]
    assert (counts["rows"], counts["kept"], counts["dropped"]) == (4, 3, 1)
    assert set(counts["peers"]) == {"alice", "carol"}
    # What was written stands for the table in a run whose tables are aligned.
    again = meet(bundle, "aligned", {place: rows for place, (_, rows) in found.items()}, tmp_path)
    assert [again[place][1] for place in found] == [rows for _, rows in found.values()]


def test_a_difference_is_told_at_every_party(bundle, tmp_path):
    key = {"align": AlignSettings(key=b"another key, which is wrong")}
    found = meet(bundle, "hash", TABLES, tmp_path, carol=key)
    assert {place: failure.code for place, failure in found.items()} == dict.fromkeys(TABLES, "VFL0664")
    found = meet(bundle, "aligned", TABLES | {"bob": OTHERS["bob"]}, tmp_path)
    assert {failure.code for failure in found.values()} == {"VFL0661"}
    found = meet(bundle, "psi", TABLES | {"alice": {"ID": ["x"], "a": [1.0]}}, tmp_path)
    assert {failure.code for failure in found.values()} == {"VFL0606"}


def test_a_place_without_a_table_has_nothing_to_align(bundle, tmp_path):
    site = Site("mixer", None, lambda *_: None, "psi", AlignSettings(), "onnx", 1, silent)
    with pytest.raises(Failure, match="VFL0618"):
        align_party(bundle, site)


def test_a_method_without_its_key_is_told_before_a_peer_is_called(bundle, tmp_path):
    table = pa.table(TABLES["alice"])
    site = Site(
        "alice", table, lambda *_: pytest.fail("it connects"), "hash", AlignSettings(), "onnx", 1, silent
    )
    with pytest.raises(Failure, match="VFL0663"):
        align_party(bundle, site)


def test_processes(bundle, tmp_path, capsys):
    """Three processes over gRPC, as a user starts them; the second time nothing is compared again."""
    need_all()
    from party.processes import write_deploy

    for party, columns in TABLES.items():
        pq.write_table(pa.table(columns), tmp_path / f"{party}.parquet")
    deploy = write_deploy(tmp_path, {p: f"{p}.parquet" for p in TABLES} | {"mixer": None})
    deploy.write_text(deploy.read_text() + '[align]\nmethod = "psi"\nhub = "carol"\nthreads = 1\n')
    for again in (False, True):
        command = ["align", *["--force"] * again, "--deploy", deploy, "--insecure", "-o"]
        logs = [tmp_path / f"{p}-{again}.log" for p in TABLES]
        processes = [
            Command("vflc", *command, f"{p}-out.parquet", p, bundle, cwd=tmp_path, stdout=log, stderr=log)
            for p, log in zip(TABLES, logs, strict=True)
        ]
        ended = [process.wait(300) for process in processes]
        said = [log.read_text() for log in logs]
        assert ended == [0, 0, 0], said
        assert all(f"3 of 4 rows of {p} are also at " in each for p, each in zip(TABLES, said, strict=True))
        assert pq.read_table(tmp_path / "bob-out.parquet").column("id").to_pylist() == [2, 3, 4]
        kept = sorted((tmp_path / "runs").rglob("*.safetensors"))
        assert len(kept) == 3
        if not again:
            stamps = [file.stat().st_mtime_ns for file in kept]
    assert stamps == [file.stat().st_mtime_ns for file in kept]


def need_all():
    for module in ("private_set_intersection.python", "grpc", "cryptography"):
        pytest.importorskip(module, reason="needs vflc[psi,grpc]")


def test_the_commands_of_the_page(tmp_path):
    need_all()
    from ports import free_ports

    root = Path(__file__).parents[2]
    blocks = re.findall(
        r"<!-- test -->\s*```sh\n(.*?)```", (root / "docs/alignment.md").read_text(), re.DOTALL
    )
    shutil.copytree(root / "specs", tmp_path / "specs", ignore=shutil.ignore_patterns("__pycache__"))
    script = "\n".join(blocks).replace("7443", str(free_ports(1)[0]))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=os.environ | {"PATH": path},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "keys that all parties have" in done.stdout
    rows = [pq.read_table(tmp_path / f"build/{party}.parquet").column("ID") for party in ("alice", "bob")]
    assert len(rows[0]) > 1000 and rows[0].equals(rows[1])


def test_a_bar_follows_the_computation():
    from vflc.cli.progress import Screen

    with Screen() as screen:
        screen(Aligning("own keys", 1, 2))
        assert screen._bar.tasks[0].fields["now"] == "own keys" and screen._bar.tasks[0].visible
        screen(Aligning("own keys", 2, 2))
        assert not screen._bar.tasks[0].visible
