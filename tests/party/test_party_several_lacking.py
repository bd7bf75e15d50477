"""Several parties that may lack rows, one of them beside many rows a key: trained, aligned and told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from partying import exchange, site, tensors, together, train_alone, train_together
from safetensors.numpy import load_file
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.bundle.manifest import read_manifest
from vflc_runtime.party.align import align_party
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

SPEC = """
party alice {
  key ID
  missing party allowed
  feature Age: float
}
party bob {
  key ID
  feature Item: string -> hash(20)
  feature a:    float
  feature c:    float
  column  Rating: int
  label   liked = Rating > 3
}
party carol {
  key ID
  missing party allowed
  feature Sum: float -> bucketize(0, 1)
}
party dave {
  key ID
  feature Height: float
}
x = dense(0.02 * alice.Age, 4)
z = flatten(embed(carol.Sum, dim = 3))
w = dense(dave.Height, 2)
{MORE}
m = mlp(concat({X}, {Z}, w, flatten(embed(bob.Item, dim = 4))), [8])
logit = dense(m, 1) + 0 * (bob.a + bob.c) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice { to bob, carol, dave: Age }
release bob { to alice, carol, dave: liked, Item, a, c }
release carol { to bob, alice, dave: Sum }
release dave { to bob, alice, carol: Height }
train {
  optimizer adam(lr = 0.05)
  batch 16
  epochs 3
}
"""
TEXT = SPEC.replace("{MORE}", "").replace("{X}", "x").replace("{Z}", "z")
BY_HAND = (
    SPEC.replace("  missing party allowed\n", "")
    .replace("{MORE}", "x0 = weight(4, init = zeros) at bob\nz0 = weight(3, init = zeros) at bob")
    .replace("{X}", "x * bob.a + x0 * (1 - bob.a)")
    .replace("{Z}", "z * bob.c + z0 * (1 - bob.c)")
)
DRAWN = np.random.default_rng(4)
HAS = {"alice": DRAWN.random(80) < 0.7, "carol": DRAWN.random(80) < 0.6}
KEYS = [f"{2 * (not c) + (not a)}{i:02}" for i, (a, c) in enumerate(zip(*HAS.values(), strict=True))]
"""In the order of a run: who lacks them comes first."""
WHOLE = {
    "alice": pa.table({"ID": KEYS, "Age": DRAWN.normal(40, 9, 80)}),
    "bob": pa.table(
        {
            "ID": KEYS,
            "Item": [f"i{i % 11}" for i in range(80)],
            "a": HAS["alice"].astype(float),
            "c": HAS["carol"].astype(float),
            "Rating": DRAWN.integers(1, 6, 80),
        }
    ),
    "carol": pa.table({"ID": KEYS, "Sum": DRAWN.normal(size=80)}),
    "dave": pa.table({"ID": [*KEYS[::-1], "x"], "Height": DRAWN.normal(size=81)}),
}
SOURCES = WHOLE | {party: WHOLE[party].filter(pa.array(has)) for party, has in HAS.items()}
BY_KEY: dict[str, Any] = {"method": "hash", "align": AlignSettings(key=b"k" * 32)}
OPTIONS = TrainOptions()


def compiled(text: str, folder: Path) -> Path:
    compile_source(SourceText("spec.vfl", text), precision="float64").write(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lacking")
    return train_alone(compiled(TEXT, folder / "bundle"), SOURCES, folder / "run", OPTIONS)


def test_they_are_the_defaults_written_by_hand(run: Path, tmp_path: Path) -> None:
    other = train_alone(compiled(BY_HAND, tmp_path / "hand"), WHOLE, tmp_path / "run", OPTIONS)
    named = {"x.default": "x0", "z.default": "z0"}
    for place in WHOLE:
        due = load_file(other / place / "model.safetensors")
        for name, value in load_file(run / place / "model.safetensors").items():
            np.testing.assert_allclose(value, due[named.get(name, name)], rtol=0, atol=1e-9, err_msg=name)
    found, hand = evaluate(run, SOURCES)["evaluation"], evaluate(other, WHOLE)["evaluation"]
    assert found["loss"] == pytest.approx(hand["loss"], abs=1e-9)


def test_predictions_say_who_lacks_a_row(run: Path, tmp_path: Path) -> None:
    predict(run, SOURCES, tmp_path / "p.csv")
    types = csv.ConvertOptions(column_types={"ID": "string"})
    found = csv.read_csv(tmp_path / "p.csv", convert_options=types)
    said = ["complete", "without alice", "without carol", "without alice, carol"]
    assert found["status"].to_pylist() == [said[int(key[0])] for key in found["ID"].to_pylist()]
    assert found["ID"].to_pylist() == sorted(KEYS) and set(found["status"].to_pylist()) == set(said)
    counts = json.loads((run / "metrics.json").read_text())["data"]["parties"]
    for party, has in HAS.items():
        assert counts[party]["missing"] == int((~has).sum()) and counts[party]["kept"] == int(has.sum())


@pytest.mark.parametrize("many", [False, True])
def test_between_processes(run: Path, many: bool, tmp_path: Path) -> None:
    bundle, sources, alone = run / "bundle", SOURCES, run
    if many:
        text = TEXT.replace("party bob {\n  key ID", "party bob {\n  key ID\n  rows per key many")
        text = text.replace("epochs 3", "epochs 1\n  drop alice 0.2\n  drop carol 0.1")
        bundle = compiled(text, tmp_path / "bundle")
        sources = SOURCES | {"bob": pa.concat_tables([WHOLE["bob"], WHOLE["bob"].slice(20, 30)])}
        alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    found = train_together(bundle, sources, tmp_path / "apart", OPTIONS, **BY_KEY)
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    for place in SOURCES:
        assert tensors(tmp_path / "apart" / place, place) == tensors(alone, place)


def test_aligned_by_itself(run: Path, tmp_path: Path) -> None:
    meeting = exchange(run / "bundle")

    def one(place: str) -> Any:
        here = replace(site(place, SOURCES[place], lambda manifest, rows: meeting.join(place, 60)), **BY_KEY)
        return lambda: align_party(run / "bundle", here, tmp_path / f"{place}.parquet")

    found = together({place: one(place) for place in SOURCES})
    for place, has in (HAS | {"bob": np.ones(80, bool), "dave": np.ones(80, bool)}).items():
        keys = [key for key, own in sorted(zip(KEYS, has, strict=True)) if own]
        assert pq.read_table(tmp_path / f"{place}.parquet")["ID"].to_pylist() == keys, found
        assert found[place]["kept"] == int(has.sum()) and found[place]["keys"] == 80
        assert found[place]["missing"] == {party: int((~each).sum()) for party, each in HAS.items()}


def test_what_is_told_stands_in_the_manifest(run: Path, tmp_path: Path) -> None:
    told = {
        (each.kind, each.sender, each.receiver)
        for each in read_manifest(run / "bundle/manifest.json").controls
    }
    which = {receiver for kind, _, receiver in told if kind == "align.which"}
    assert which == {"alice", "carol", "dave"}  # bob, who knows, tells them
    nine = "".join(
        f"party p{i} {{\n  key ID\n  missing party allowed\n  feature F: float\n}}\n" for i in range(7)
    )
    with pytest.raises(Refused, match="VFL0116"):
        compiled(nine + TEXT, tmp_path / "nine")
