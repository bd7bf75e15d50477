"""An encoder of another package, from the spec to an export; and packages whose encoders go wrong."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from installing import found, package, vflc
from vflc_common import plugins
from vflc_common.canonical import canonical, digest
from vflc_common.encoders import ENCODERS
from vflc_runtime.data.chain import EncoderChain
from vflc_runtime.data.generate import generate
from vflc_runtime.errors import Failure
from vflc_runtime.export.standalone import source

Install = Callable[[str], None]
SPEC = """
party alice {
  key ID
  feature At: string -> ENCODER
}
party bob {
  key ID
  feature Income: float -> standardize
  label Late: int
}
a = embed(alice.At, dim = 4)
fuse at bob {
  logit = dense(concat(a, bob.Income), 1)
}
predict late = sigmoid(logit)
objective bce(logit, bob.Late)
release alice { to bob: At at most BITS bits }
release bob { to alice: Late, Income }
train { batch 50  epochs 2  validation 0.2  metrics auc }
"""


def spec(encoder: str = "clock", bits: str = "4.6") -> str:
    return SPEC.replace("ENCODER", encoder).replace("BITS", bits)


def tables(folder: Path) -> list[str]:
    """Rows of both parties, and the options that name them: row i is of the hour i % 24."""
    rng = np.random.default_rng(5)
    lines = [f"{i},2024-02-{1 + i % 28:02} {i % 24:02}:{i % 60:02}:00" for i in range(200)]
    (folder / "alice.csv").write_text("\n".join(["ID,At", *lines]) + "\n")
    lines = [f"{i},{rng.normal(30, 5)},{int(i % 24 > 12)}" for i in range(200)]
    (folder / "bob.csv").write_text("\n".join(["ID,Income,Late", *lines]) + "\n")
    return ["--data", "alice=alice.csv", "--data", "bob=bob.csv"]


@pytest.fixture(scope="module")
def folder(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spec compiled and trained with the package."""
    made = tmp_path_factory.mktemp("hour")
    (made / "m.vfl").write_text(spec(), "utf-8")
    for command in (
        ("compile", "m.vfl", "-o", "bundle"),
        ("train", "bundle", *tables(made), "--out", "run"),
    ):
        done = vflc(*command, at=made, site=site)
        assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_what_others_learn_follows_from_its_codes(folder: Path, site: Path, tmp_path: Path) -> None:
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text("utf-8"))
    assert manifest["plugins"] == [
        {"kind": "encoders", "name": "clock", "package": "vflc-example", "version": "1.0"}
    ]
    page = (folder / "bundle" / "manifest.md").read_text("utf-8")
    assert "| bob | alice.At | its code (4.585 bits a row) |" in page
    told = found(spec(bits="4.5"), tmp_path, site)
    assert "error[VFL0340]: bob may learn the code of alice.At (4.585 bits a row)" in told


def test_predictions_and_exports_are_of_the_hour(folder: Path, site: Path, tmp_path: Path) -> None:
    """Another day of the same hour is the same to a model; encode.py gives the hours without the package."""
    data = tables(folder)
    for name, day in (("one", "2024-02-01"), ("other", "1999-12-31")):
        lines = [f"{i},{day}T{i % 24:02}:00" for i in range(200)]
        (folder / "alice.csv").write_text("\n".join(["ID,At", *lines]) + "\n")
        done = vflc("predict", "run", *data, "-o", tmp_path / f"{name}.csv", at=folder, site=site)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()
    with (tmp_path / "one.csv").open(newline="") as opened:
        late = {row["ID"]: row["late"] for row in csv.DictReader(opened)}
    assert len(set(late.values())) > 24

    done = vflc("export", "run", "-o", tmp_path / "models", *data, at=folder, site=site)
    assert done.returncode == 0, done.stderr
    assert "encode.py does clock (ONNX has no operator for `clock`)" in done.stdout + done.stderr
    command = [sys.executable, "-I", "-S", "encode.py", "alice/predict.json", folder / "alice.csv"]
    encoded = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "models")
    assert json.loads(encoded.stdout) == {"alice.At": [i % 24 for i in range(200)]}


def test_a_party_without_the_package_is_refused_before_anything_runs(folder: Path, tmp_path: Path) -> None:
    data = tables(folder)
    later = package(tmp_path / "later", "", "", "vflc-example", "1.1")
    for where, says in ((None, "which is not installed here"), (later, "which is 1.1 here")):
        for command in (("train", "bundle", *data, "--out", tmp_path / "new"), ("evaluate", "run", *data)):
            refused = vflc(*command, at=folder, site=where)
            assert refused.returncode == 1 and "error[VFL0696]" in refused.stderr, refused.stdout
            assert "'clock' of the package vflc-example 1.0" in refused.stderr and says in refused.stderr
    assert not (tmp_path / "new").exists()


def test_one_that_the_manifest_does_not_name_is_not_run(folder: Path, site: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert vflc("compile", "m.vfl", "-o", bundle, at=folder, site=site).returncode == 0
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    del manifest["plugins"], manifest["digest"], manifest["page_sha256"]
    (bundle / "manifest.json").write_text(canonical({**manifest, "digest": digest(manifest)}), "utf-8")
    refused = vflc("train", bundle, *tables(folder), "--out", tmp_path / "new", at=folder, site=site)
    assert refused.returncode == 1
    assert "error[VFL0613]: 'clock' among the encoders is of the package vflc-example 1.0" in refused.stderr


def test_a_near_name_is_suggested(site: Path, tmp_path: Path) -> None:
    assert "did you mean `clock`?" in found(spec("clokc"), tmp_path, site)


# --- encoders that go wrong -------------------------------------------------------------------------------

HEAD = """
import os, re
import numpy as np
import pyarrow as pa
from vflc_common.encoder import Encoder, EncoderParameter, Fit, Python, NUMBER
from vflc_common.values import Values

def odd(value, step):
    return 0

def made(**more):
    given = dict(name="odd", doc="", step="", reads=("string", "float"), gives="id", codes=lambda s: 3)
    return Encoder(**{**given, "python": Python(odd), **more})

"""
POINTS = "[vflc.encoders]\nodd = strange:ENCODER\n"

IN_A_SPEC = {
    "no number of codes": ("made(codes=lambda s: 0)", "0 is no number of ids"),
    "endless codes": ("made(codes=lambda s: float('inf'))", "inf is no number of ids"),
    "codes that raise": ("made(codes=lambda s: 1 / 0)", "fails: ZeroDivisionError: division by zero"),
    "ids without codes": ("made(codes=None)", "ValueError: what makes ids says how many"),
    "many values by one": ("made(gives='strings', codes=None)", "needs `encode`"),
    "names of ids": ("made(classes=lambda s: [None] * 3)", "are no names of ids"),
    "a check that raises": ("made(wrong=lambda s, k: s['nothing'])", "fails: KeyError: 'nothing'"),
    "another name": ("made(name='even')", "is no Encoder of that name"),
    "no record": ("3", "is no Encoder of that name: 3"),
}


@pytest.mark.parametrize("how", IN_A_SPEC)
def test_a_broken_encoder_is_a_finding_at_its_place(how: str, tmp_path: Path) -> None:
    code, says = IN_A_SPEC[how]
    where = package(tmp_path / "site", POINTS, f"{HEAD}ENCODER = {code}\n")
    told = found(spec("odd"), tmp_path, where)
    assert "error[VFL0695]: 'odd' among the encoders of the package strange 0.3" in told and says in told
    assert "feature At: string -> odd" in told


def test_a_label_that_no_op_leads_back_from(tmp_path: Path) -> None:
    text = spec("hash(24)").replace("label Late: int", "label Late: float -> odd").replace("auc", "mae")
    text = text.replace("sigmoid(logit)", "logit").replace("bce(", "mse(")
    cases = {
        "": ("error[VFL0505]: `late` cannot be in the units of bob.Late: nothing undoes `odd`", "-> odd"),
        "undo=lambda b, value, p: 1 / 0": ("error[VFL0695]: 'odd' among the encoders", "ZeroDivisionError"),
        "undo=lambda b, value, p: 7": ("error[VFL0695]: ", "which is no value of a graph"),
    }
    for number, (more, says) in enumerate(cases.items()):
        code = f"{HEAD}ENCODER = made(gives='float', codes=None, {more})\n"
        where = package(tmp_path / str(number), POINTS, code)
        told = found(text, tmp_path, where)
        assert all(each in told for each in says), told
    code = f"{HEAD}ENCODER = made(gives='float', codes=None, keeps_units=True)\n"
    (tmp_path / "m.vfl").write_text(text, "utf-8")
    done = vflc("check", "m.vfl", at=tmp_path, site=package(tmp_path / "right", POINTS, code))
    assert done.returncode == 0, done.stdout


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package whose encoder is as the given code makes it."""

    def install(code: str) -> None:
        monkeypatch.syspath_prepend(str(package(tmp_path / "site", POINTS, f"{HEAD}{code}\n")))
        plugins.entry_points.cache_clear()

    yield install
    for forget in (ENCODERS._found, sys.modules):
        for name in ("odd", "strange"):
            forget.pop(name, None)
    plugins.entry_points.cache_clear()


TEXTS = pa.array(["x", "y", None, "x"])
AS_A_BLOCK = {
    "raises": "1 / 0",
    "arrow's own error": "values.with_flat(values.flat.cast(pa.int64()))",
    "gives nothing": "None",
    "gives an array": "values.flat",
    "gives numpy": "values.with_flat(np.zeros(len(values.flat)))",
    "loses a value": "values.with_flat(pa.array([0]))",
    "makes many of one": "Values(pa.array([0, 1]), np.array([0, 1, 2]))",
}


@pytest.mark.parametrize("how", AS_A_BLOCK)
def test_what_an_encoder_gives_is_checked(how: str, encoder: Install) -> None:
    encoder(f"ENCODER = made(encode=lambda values, settings: {AS_A_BLOCK[how]})")
    refused("VFL0504", "'odd' of the package strange 0.3 cannot encode p.c: ")


def test_rows_of_many_values_are_checked(encoder: Install) -> None:
    """Offsets that fall, start late, or end early."""
    encoder(
        "OFFSETS = []\n"
        "ENCODER = made(gives='strings', codes=None,\n"
        "    encode=lambda v, s: Values(pa.array(['a', 'b']), np.array(OFFSETS[-1])))"
    )
    assert ENCODERS["odd"].name in ENCODERS
    offsets = sys.modules["strange"].OFFSETS
    chain = [{"name": "odd"}, {"name": "hash", "buckets": 3}]
    for wrong in ([0, 2, 1, 2], [1, 1, 2, 2], [0, 1, 1, 1], [0, 1, 2], 3):
        offsets.append(wrong)
        refused("VFL0504", "cannot encode p.c", chain, "ids")
    offsets.append([0, 1, 1, 2])  # of the three different texts, of which one is none
    made = EncoderChain("p.c", {"encoders": chain, "shape": "ids", "rows": 3}).encode(TEXTS, TEXTS)
    assert made.shape == (4, 1) and made[1, 0] == -1 and made[0, 0] == made[3, 0] != -1


def test_codes_stay_below_what_was_told(encoder: Install) -> None:
    encoder("ENCODER = made(encode=lambda values, s: values.with_flat(pa.array([3] * len(values.flat))))")
    refused("VFL0604", "p.c holds 3 in the row with key 'x', which is not an id from 0 to 2")


def test_what_is_no_number_is_missing(encoder: Install) -> None:
    encoder(
        "ENCODER = made(gives='float', codes=None,\n"
        "    encode=lambda v, s: v.with_flat(pa.array([float('nan')] * len(v.flat))))"
    )
    refused("VFL0610", "p.c has no value in 4 of 4 rows", shape="number")


FITS = {
    "start": "Fit(lambda: 1 / 0, dict, lambda s: s, {'mean': 0.0})",
    "add": "Fit(dict, dict, lambda s: s, {'mean': 0.0})",
    "result": "Fit(Count, lambda c, s: {}, lambda s: s, {'mean': 0.0})",
    "no number": "Fit(Count, lambda c, s: {'mean': 'x'}, lambda s: s, {'mean': 0.0})",
}


@pytest.mark.parametrize("how", FITS)
def test_an_encoder_that_cannot_be_fitted(how: str, encoder: Install) -> None:
    encoder(
        "class Count:\n    count = 1\n    def add(self, numbers): pass\n\n"
        "ENCODER = made(gives='float', codes=None, parameters=(EncoderParameter('mean', NUMBER),), "
        f"fit={FITS[how]})"
    )
    chain = EncoderChain("p.c", {"encoders": [{"name": "odd", "mean": None}], "shape": "number"})
    with pytest.raises(Failure, match="'odd' of the package strange") as caught:
        chain.observe(pa.array([1.0, 2.0]), TEXTS)
        chain.settle()
    assert caught.value.code == "VFL0504"


def refused(code: str, says: str, chain: object = ({"name": "odd"},), shape: str = "id") -> None:
    column = {"encoders": chain, "shape": shape, "rows": 3, "where": None}
    with pytest.raises(Failure) as caught:
        EncoderChain("p.c", column).encode(TEXTS, TEXTS)
    assert caught.value.code == code and says in caught.value.message, caught.value
    assert caught.value.help


ALONE = "is not a function that stands by itself"
PYTHON = {
    "a module": ("def use(v, s):\n    return os.getpid()\n", "it uses the module os as os"),
    "another's name": ("import math as re\ndef use(v, s):\n    return re.pi\n", "the module math as re"),
    "a name of encode.py as a variable": (
        "ABSENT = 1\ndef use(v, s):\n    return ABSENT + sum((lambda ABSENT: ABSENT)(x) for x in [1])\n",
        "another 'ABSENT' is there already",
    ),
    "what is no constant": ("K = [3]\ndef use(value, step):\n    return K[0]\n", "it uses K, a list"),
    "what is around it": (
        "def around(k):\n    def use(value, step):\n        return k\n    return use\nuse = around(3)\n",
        ALONE,
    ),
    "a function without a name": ("use = lambda value, step: 0\n", ALONE),
    "an object": ("class Use:\n    def __call__(self, v, s): return 0\nuse = Use()\n", "is not a function"),
    "inside of it": ("def use(v, s):\n    return [os for _ in 'x'][0]\n", "it uses the module os as os"),
}  # fmt: skip


@pytest.mark.parametrize("how", PYTHON)
def test_what_cannot_be_written_out(how: str, encoder: Install) -> None:
    code, says = PYTHON[how]
    encoder(f"{code}ENCODER = made(python=Python(use))")
    with pytest.raises(Failure) as caught:
        source(["odd"])
    assert caught.value.code == "VFL0504" and says in caught.value.message


def test_what_is_written_out_stands_alone(encoder: Install, tmp_path: Path) -> None:
    """Constants, patterns, functions that call one another, and functions within."""
    encoder(
        "WORD, NUMBER = re.compile('[A-Z]+', re.IGNORECASE), (3, 'é')\n"  # encode.py has a NUMBER, too
        "def typed(value, n):\n    'é'; return value if n == 0 else typed(value + NUMBER[0], n - 1)\n"
        "again = typed\n"
        "def lower(value, step):\n"
        "    inner = lambda: len([c for c in value if WORD.match(c)])\n"
        "    return again(inner(), len(NUMBER))\n"
        "ENCODER = made(python=Python(lower))"
    )
    text = source(["odd"])
    assert "vflc_common" not in text
    (tmp_path / "encode.py").write_text(text, "utf-8")
    code = "import encode; print(encode.STEPS['odd'][1]('a1B', {}), encode.STEPS['lower'][1]('A', {}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "8 a\n", done.stderr


def test_made_up_tables_have_what_an_encoder_asks_for(encoder: Install) -> None:
    encoder(
        "from vflc_common.encoder import Suits\nENCODER = made(suits=lambda s: Suits(listed=['p', 'q', 'r']))"
    )
    column = {"name": "c", "kind": "feature", "type": "string", "encoders": [{"name": "odd"}], "shape": "id"}
    table = generate({"parties": {"p": {"key": "ID", "columns": [column]}}}, 50, 1)["p"]
    assert set(table["c"].to_pylist()) == {"p", "q", "r"}
