"""Keys that are a part of another's: one row a user and one row an item beside ratings of both."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from partying import exchange, site, tensors, together, train_alone, train_together
from safetensors.numpy import load_file
from signing import sign
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.bundle.manifest import read_manifest
from vflc_runtime.data.overlap import overlap
from vflc_runtime.data.spread import ABSENT
from vflc_runtime.errors import Failure
from vflc_runtime.export.run import export
from vflc_runtime.party.align import align_party
from vflc_runtime.party.counts import tell_at
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

SPEC = """
party bank {
  key UserID
  {LACKS}
  feature Age:  float
  feature City: string -> hash(10)
}
party shop {
  key UserID, ItemID
  {MANY}
  feature Hour: int -> index(24)
  {HERE}
  column  Rating: int
  label   liked = Rating > 3
}
party maker {
  key ItemID
  feature Price: float -> standardize
}
u = mlp(concat(dense(0.02 * bank.Age, 4), flatten(embed(bank.City, dim = 4))), [6])
m = dense(maker.Price, 3)
h = flatten(embed(shop.Hour, dim = 2))
{MORE}
logit = dense(mlp(concat({U}, m, h), [8]), 1) at shop
predict liked = sigmoid(logit)
objective bce(logit, shop.liked)
release bank { to shop, maker: Age, City }
release shop { to bank, maker: liked, Hour {ALSO} }
release maker { to bank, shop: Price }
train {
  optimizer adam(lr = 0.05)
  batch 16
  epochs 2
  metrics auc
}
"""


def spec(**parts: str) -> str:
    text = SPEC
    for name, default in {"LACKS": "", "MANY": "", "HERE": "", "MORE": "", "U": "u", "ALSO": ""}.items():
        text = text.replace("{" + name + "}", parts.get(name, default))
    return text


TEXT = spec()
JOINED = (
    spec().replace("key UserID\n", "key UserID, ItemID\n").replace("key ItemID\n", "key UserID, ItemID\n")
)
DRAWN = np.random.default_rng(6)
PAIRS = sorted(
    {(f"u\x01{u:02}", int(i)) for u, i in DRAWN.integers(0, 20, (120, 2))}, key=lambda p: (p[0], str(p[1]))
)
USERS, ITEMS = ({p[at] for p in PAIRS} for at in (0, 1))
BANK = pa.table(
    {
        "UserID": [*sorted(USERS)[::-1], "nobody"],
        "Age": DRAWN.normal(40, 9, len(USERS) + 1),
        "City": [f"c{i % 7}" for i in range(len(USERS) + 1)],
    }
)
MAKER = pa.table({"ItemID": [*sorted(ITEMS), 999], "Price": DRAWN.normal(size=len(ITEMS) + 1)})
SHOP = pa.table(
    {
        "UserID": [p[0] for p in PAIRS],
        "ItemID": [float(p[1]) for p in PAIRS],
        "Hour": DRAWN.integers(0, 24, len(PAIRS)),
        "Rating": DRAWN.integers(1, 6, len(PAIRS)),
    }
)
SOURCES = {"bank": BANK.slice(3), "shop": SHOP, "maker": MAKER.slice(2)}
BY_KEY: dict[str, Any] = {"method": "hash", "align": AlignSettings(key=b"k" * 32)}
OPTIONS = TrainOptions()


def joined(sources: dict[str, pa.Table], lacking: bool = False) -> dict[str, pa.Table]:
    """The tables as if each had a row for each rating; without users of the bank the first stands in."""
    users = {row["UserID"]: row for row in sources["bank"].to_pylist()}
    items = {row["ItemID"]: row for row in sources["maker"].to_pylist()}
    rows = [
        r for r in sources["shop"].to_pylist() if r["ItemID"] in items and (lacking or r["UserID"] in users)
    ]
    if lacking:
        rows.sort(key=lambda row: row["UserID"] not in users)
    some = sources["bank"].to_pylist()[0]
    keys = [{"UserID": r["UserID"], "ItemID": r["ItemID"]} for r in rows]
    if lacking:  # in the order of a run: rows that all have come first
        keys = [
            {**key, "UserID": f"{int(r['UserID'] not in users)}{key['UserID']}"}
            for key, r in zip(keys, rows, strict=True)
        ]
    return {
        "bank": pa.Table.from_pylist(
            [users.get(r["UserID"], some) | k for r, k in zip(rows, keys, strict=True)]
        ),
        "shop": pa.Table.from_pylist(
            [r | k | {"here": float(r["UserID"] in users)} for r, k in zip(rows, keys, strict=True)]
        ),
        "maker": pa.Table.from_pylist([items[r["ItemID"]] | k for r, k in zip(rows, keys, strict=True)]),
    }


def compiled(text: str, folder: Path) -> Path:
    compile_source(SourceText("spec.vfl", text), precision="float64").write(folder)
    return folder


def same(one: Path, other: Path, **named: str) -> None:
    for place in ("bank", "shop", "maker"):
        due = load_file(other / place / "model.safetensors")
        for name, value in load_file(one / place / "model.safetensors").items():
            np.testing.assert_allclose(value, due[named.get(name, name)], rtol=0, atol=1e-9, err_msg=name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("star")
    return train_alone(compiled(TEXT, folder / "bundle"), SOURCES, folder / "run", OPTIONS)


def test_it_is_the_joined_table(run: Path, tmp_path: Path) -> None:
    tables = joined(SOURCES)
    other = train_alone(compiled(JOINED, tmp_path / "joined"), tables, tmp_path / "run", OPTIONS)
    same(run, other)
    metrics, due = (json.loads((each / "metrics.json").read_text()) for each in (run, other))
    assert metrics["rows"] == due["rows"] == len(tables["shop"]) < len(SHOP)
    sent = {edge: metrics["bytes_sent"][edge] / due["bytes_sent"][edge] for edge in ("u", "m")}
    assert all(0.3 < share < 0.95 for share in sent.values()), sent
    found, hand = evaluate(run, SOURCES)["evaluation"], evaluate(other, tables)["evaluation"]
    assert found["loss"] == pytest.approx(hand["loss"], abs=1e-9) and found["auc"] == hand["auc"]
    predict(run, SOURCES, tmp_path / "p.csv")
    types = csv.ConvertOptions(column_types={"UserID": "string"})
    predicted = csv.read_csv(tmp_path / "p.csv", convert_options=types)
    assert predicted["UserID"].to_pylist() == tables["shop"]["UserID"].to_pylist()
    assert predicted["ItemID"].to_pylist() == tables["shop"]["ItemID"].to_pylist()
    for merged in (False, True):
        export(run, tmp_path / f"out{merged}", merged=merged, sources=SOURCES)


LACKING = spec(LACKS="missing party allowed")
BY_HAND = (
    spec(
        HERE="feature here: float",
        MORE="u0 = weight(6, init = zeros) at shop",
        U="u * shop.here + u0 * (1 - shop.here)",
        ALSO=", here",
    )
    .replace("key UserID\n", "key UserID, ItemID\n")
    .replace("key ItemID\n", "key UserID, ItemID\n")
)


HUB = (
    ("party hub {}\n" + LACKING)
    .replace(
        "logit = dense(mlp(concat(u, m, h), [8]), 1)",
        "z = mlp(concat(u, m, h), [8]) at hub\nlogit = dense(z, 1)",
    )
    .replace("to shop", "to hub, shop")
    .replace("to bank", "to hub, bank")
    .replace("epochs 2", "epochs 2\n  drop bank 0.3")
)
"""The maker and the shop read nothing of the bank, and are not told which rows it has."""


@pytest.mark.parametrize("kind", ["plain", "many", "lacking", "hub"])
def test_between_processes(run: Path, kind: str, tmp_path: Path) -> None:
    bundle, sources, alone = run / "bundle", SOURCES, run
    if kind != "plain":
        text = {"many": spec(MANY="rows per key many"), "lacking": LACKING, "hub": HUB}[kind]
        bundle = compiled(text, tmp_path / "bundle")
        if kind == "many":
            sources = SOURCES | {"shop": pa.concat_tables([SHOP, SHOP.slice(10, 30)])}
        alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    if kind == "lacking":
        hand = train_alone(
            compiled(BY_HAND, tmp_path / "hand"), joined(sources, True), tmp_path / "by", OPTIONS
        )
        same(alone, hand, **{"u.default": "u0"})
    found = train_together(bundle, sources, tmp_path / "apart", OPTIONS, **BY_KEY)
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    for place in SOURCES:
        assert tensors(tmp_path / "apart" / place, place) == tensors(alone, place)
    if kind == "hub":
        assert tensors(tmp_path / "apart" / "hub", "hub") == tensors(alone, "hub")
    counted = [
        json.loads((tmp_path / "apart" / p / "metrics.json").read_text())["data"]["parties"] for p in SOURCES
    ]
    due = json.loads((alone / "metrics.json").read_text())["data"]["parties"]
    assert {party: counts for each in counted for party, counts in each.items()} == due


def test_aligned_by_itself(run: Path, tmp_path: Path) -> None:
    meeting = exchange(run / "bundle")

    def one(place: str) -> Any:
        here = replace(site(place, SOURCES[place], lambda manifest, rows: meeting.join(place, 60)), **BY_KEY)
        return lambda: align_party(run / "bundle", here, tmp_path / f"{place}.parquet")

    found = together({place: one(place) for place in SOURCES})
    rows = joined(SOURCES)["shop"]
    assert pq.read_table(tmp_path / "shop.parquet")["ItemID"].to_pylist() == rows["ItemID"].to_pylist(), found
    assert pq.read_table(tmp_path / "bank.parquet")["UserID"].to_pylist() == sorted(
        {*rows["UserID"].to_pylist()}
    )
    assert found["maker"]["kept"] == len({*rows["ItemID"].to_pylist()})


def test_counted_before_a_run(run: Path) -> None:
    parties: dict[str, Any] = {
        "bank": {"key": "UserID", "part_of_key": [0]},
        "shop": {"key": ["UserID", "ItemID"]},
        "maker": {"key": "ItemID", "part_of_key": [1]},
    }
    found, due = overlap(parties, SOURCES), json.loads((run / "metrics.json").read_text())["data"]["parties"]
    assert found.problem is None and found.common == due["shop"]["kept"]
    assert {party: counts.kept for party, counts in found.parties.items()} == {p: due[p]["kept"] for p in due}
    doubled = overlap(parties, SOURCES | {"bank": pa.concat_tables([SOURCES["bank"], BANK.slice(5, 1)])})
    assert doubled.problem is not None and doubled.problem.code == "VFL0605"
    assert doubled.common == found.common and doubled.parties["bank"].doubled == 2


def test_who_is_told_what(run: Path) -> None:
    """Which ratings are of one user learns the bank, and which are of one item the maker."""
    manifest = read_manifest(run / "bundle/manifest.json")
    told = {(each.sender, each.receiver) for each in manifest.controls if each.kind == "align.at"}
    assert told == {("shop", "bank"), ("shop", "maker")} and manifest.once == ("bank", "maker")
    assert manifest.knows("bank", "bank") and not manifest.knows("bank", "maker")
    bounds = {
        (r["receiver"], r["column"]): r["bound"]["kind"]
        for r in manifest.document["learned"]
        if r["edges"] == ["alignment"]
    }
    assert bounds["bank", "UserID, ItemID"] == "counts" and bounds["shop", "UserID"] == "rows"


def test_others_are_told_numbers_of_joined_keys_alone() -> None:
    """The maker has keys 2, 5 and 9 of those that the shop has, too; nobody else learns of more."""
    told: list[tuple[str, bytes]] = []
    peers: Any = SimpleNamespace(
        receivers=lambda kind: ("hub", "maker"),
        manifest=SimpleNamespace(knows=lambda place, party: True),
        network=SimpleNamespace(tell=lambda place, kind, payload: told.append((place, payload))),
    )
    tell_at(peers, "maker", np.array([5, 2, ABSENT, 9, 5]))
    numbers = {place: np.frombuffer(payload, ">u4").tolist() for place, payload in told}
    assert numbers == {"hub": [1, 0, 2**32 - 1, 2, 1], "maker": [5, 2, 2**32 - 1, 9, 5]}


@pytest.mark.parametrize("key", [5, {}, 1.5, True, ["UserID"], ["a", 1]])
def test_a_key_that_is_none(run: Path, key: Any, tmp_path: Path) -> None:
    manifest = json.loads((run / "bundle" / "manifest.json").read_text())
    next(party for party in manifest["parties"] if party["name"] == "shop")["key"] = key
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    sign(tmp_path)
    with pytest.raises(Failure, match="VFL0613"):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize("part", [[2], [0, 1], [], [0, 0], [-1], ["0"], "UserID", [True], 0])
def test_a_part_of_the_key_that_cannot_be(run: Path, part: Any, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(run / "bundle", tmp_path / "bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    next(party for party in manifest["parties"] if party["name"] == "bank")["part_of_key"] = part
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    sign(bundle)
    with pytest.raises(Failure, match="VFL0613"):
        read_manifest(bundle / "manifest.json")
    encoders = json.loads((run / "bundle" / "bank" / "encoders.json").read_text())
    encoders["parties"]["bank"]["part_of_key"] = part
    (bundle / "manifest.json").write_text((run / "bundle" / "manifest.json").read_text())
    (bundle / "bank" / "encoders.json").write_text(json.dumps(encoders))
    sign(bundle)
    with pytest.raises(Failure, match=r"VFL0613|VFL0606"):
        train_alone(bundle, SOURCES, tmp_path / "run", OPTIONS)


def test_what_is_wrong_is_said(run: Path, tmp_path: Path) -> None:
    doubled = SOURCES | {"bank": pa.concat_tables([BANK, BANK.slice(3, 1)])}
    with pytest.raises(Failure, match=r"VFL0605: bank"):
        train_alone(run / "bundle", doubled, tmp_path / "doubled", OPTIONS)
    strangers = SOURCES | {"maker": MAKER.slice(len(ITEMS))}
    with pytest.raises(Failure, match="VFL0606"):
        train_alone(run / "bundle", strangers, tmp_path / "strangers", OPTIONS)
    found = train_together(run / "bundle", strangers, tmp_path / "apart", OPTIONS, **BY_KEY)
    assert [getattr(found[place], "code", None) for place in ("shop", "maker")] == ["VFL0606"] * 2, found
    assert found["bank"].code == "VFL0652"  # it learns that the others have left, and not why
    for change, code in {
        ("key ItemID\n", "key Item\n"): "VFL0113",
        ("key UserID\n", "key UserID\n  rows per key many\n"): "VFL0113",
        ("objective", "protect gradients to bank with gaussian(1, 2, 1e-5)\nobjective"): "VFL0115",
    }.items():
        with pytest.raises(Refused) as caught:
            compiled(TEXT.replace(*change), tmp_path / "bad")
        assert code in {each.code for each in caught.value.diagnostics}, change
