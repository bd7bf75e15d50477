"""What a party sends or brings along that others must not take: rows of keys, and what weights learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from granting import granted
from partying import compiled, site, train_alone, train_together
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.party.train import train_party
from vflc_runtime.run.train import TrainOptions
from vflc_runtime.transport.local import LocalNetwork
from vflc_runtime.transport.messages import Envelope

MANY = granted("""
party alice { key ID  feature Age: float }
party bob { key ID  rows per key many  feature Price: float  label liked: float }
a = dense(alice.Age, 2)
logit = dense(concat(a, bob.Price), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { batch 8  shuffle false  push_down false }
""")
KEYS = np.repeat(np.arange(6), 4)
TABLES = {
    "alice": pa.table({"ID": range(6), "Age": np.arange(6.0)}),
    "bob": pa.table({"ID": KEYS, "Price": np.arange(24.0), "liked": (np.arange(24) % 2).astype(float)}),
}


@pytest.mark.parametrize(
    ("edge", "change", "shape"),
    [
        ("a", lambda rows: rows[:-1], "shape [1, 2] instead of [2, 2]"),
        ("a", lambda rows: np.repeat(rows, 4, axis=0), "shape [8, 2] instead of [2, 2]"),
        ("a", lambda rows: rows[:0], "shape [0, 2] instead of [2, 2]"),
        ("a.gradient", lambda rows: np.concatenate([rows, rows]), "shape [4, 2] instead of [2, 2]"),
        ("a.gradient", lambda rows: rows[:1], "shape [1, 2] instead of [2, 2]"),
    ],
)
def test_there_is_a_row_for_each_key_of_a_batch_and_no_more(
    edge: str, change: Callable[[Any], Any], shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each side counts the keys by itself, so that no count and no index of a peer is believed."""
    put = LocalNetwork.put

    def tampered(self: LocalNetwork, receiver: str, envelope: Envelope) -> None:
        tensors = {name: change(t) if name == edge else t for name, t in envelope.tensors.items()}
        put(self, receiver, replace(envelope, tensors=tensors))

    bundle = compiled("many", MANY, tmp_path / "bundle")
    monkeypatch.setattr(LocalNetwork, "put", tampered)
    with pytest.raises(Failure) as refused:
        train_alone(bundle, TABLES, tmp_path / "run", TrainOptions(epochs=1, batch=8))
    assert (refused.value.code, refused.value.exit_code) == ("VFL0615", PEER)
    assert shape in refused.value.message


APART = """
party bank { key id  feature City: int -> index(4)  label Salary: float }
party shop { key id  feature Size: float  label liked: float }
h = dense(embed(bank.City, dim = 3), 3)
{model}
train {{ batch 16 {more} }}
"""


def test_a_party_s_weights_bring_nothing_that_the_other_may_not_learn(tmp_path: Path) -> None:
    """The bank's part learned from salaries by itself; then its activations shall go to the shop."""
    tables = {
        "bank": pa.table({"id": range(32), "City": np.arange(32) % 4, "Salary": np.arange(32.0)}),
        "shop": pa.table({"id": range(32), "Size": np.arange(32.0), "liked": np.arange(32.0) % 2}),
    }
    apart = "out = dense(h, 1)\ng = dense(shop.Size, 1)\npredict Salary = out\npredict liked = g\n"
    apart += "objective mse(out, bank.Salary) + mse(g, shop.liked)"
    shared = "g = dense(concat(h, shop.Size), 1) at shop\npredict liked = g\nobjective mse(g, shop.liked)"
    model = APART.replace("{ key", "{{ key").replace("float }", "float }}")
    first = compiled("first", granted(model.format(model=apart, more="")), tmp_path / "first")
    found = train_together(first, tables, tmp_path / "runs", TrainOptions(epochs=1))
    assert not any(isinstance(each, BaseException) for each in found.values()), found
    second = compiled("second", granted(model.format(model=shared, more="freeze h")), tmp_path / "second")

    class Met(Exception):
        """The party has come as far as to its peers."""

    def meets(manifest: Any, rows: int) -> Any:
        raise Met

    def starts(place: str) -> None:
        options = TrainOptions(epochs=1, start=tmp_path / "runs" / place)
        train_party(second, site(place, tables[place], meets), tmp_path / "again" / place, options)

    with pytest.raises(Failure, match=r"bank\.Salary, of which shop may learn nothing") as refused:
        starts("bank")
    assert refused.value.code == "VFL0752" and not (tmp_path / "again" / "bank").exists()
    with pytest.raises(Met):
        starts("shop")
