"""What the tests of protections share: specs of two and of three parties, rows for them, sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from granting import granted
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.protect.account import Facts
from vflc_runtime.run.session import Session

from vflc.diagnostics import Diagnostic, SourceText
from vflc.driver import check_source, compile_source
from vflc.emit.bundle import Bundle

TWO = """
party alice {
  key ID
  feature Age:    float
  feature Income: float
}
party bob {
  key ID
  feature Item:   float
  column  Rating: float
  label   liked = Rating > 0
}
h = mlp(concat(alice.Age, alice.Income), [6], activation = tanh)
g = dense(concat(alice.Age, alice.Income), 2)
fuse at bob {
  logit = dense(tanh(concat(dense(h, 4), g, bob.Item)), 1)
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train {
  optimizer sgd(lr = 0.1)
  batch 32
  epochs 3
}
release alice { to bob: Age, Income }
release bob { to alice: Item, liked }
"""

SUM = """
party alice {
  key ID
  feature Age: float
}
party carol {
  key ID
  feature Income: float
}
party bob {
  key ID
  feature Item:   float
  column  Rating: float
  label   liked = Rating > 0
}
a = dense(alice.Age, 4)
b = dense(bob.Item, 4)
c = dense(carol.Income, 4)
fuse at bob {
  logit = dense(tanh(a + b + c), 1)
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train {
  optimizer sgd(lr = 0.1)
  batch 32
  epochs 3
}
release alice { to carol, bob: Age }
release bob { to alice, carol: Item, liked }
release carol { to alice, bob: Income }
"""


CLASSES = """
party alice {
  key ID
  feature Age:    float
  feature Income: float
}
party bob {
  key ID
  feature Item: float
  label   kind: int -> index(3)
}
h = mlp(concat(alice.Age, alice.Income), [6], activation = tanh)
fuse at bob {
  logits = dense(tanh(concat(h, bob.Item)), 3)
}
predict kind = softmax(logits)
objective cce(logits, bob.kind)
train {
  optimizer sgd(lr = 0.1)
  batch 32
  epochs 3
}
release alice { to bob: Age, Income }
release bob { to alice: Item, kind }
"""


def found(text: str) -> list[Diagnostic]:
    """Mistakes in what a spec protects."""
    return [each for each in check_source(SourceText("test.vfl", text)) if each.code in PROTECTING]


PROTECTING = {
    "VFL0205", "VFL0312", "VFL0345", "VFL0346", "VFL0347", "VFL0348", "VFL0403",
    *(f"VFL033{i}" for i in range(10)),
}  # fmt: skip


def bundle(text: str, folder: Path, **options: Any) -> Path:
    """Compiles a spec, with the grants that it lacks."""
    if "keras" in options.get("backends", ()):
        pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    compiled(granted(text), **options).write(folder)
    return folder


@lru_cache(maxsize=32)
def compiled(text: str, **options: Any) -> Bundle:
    """Many tests are of one spec."""
    return compile_source(SourceText("test.vfl", text), **options)


def rows(count: int, seed: int = 0) -> dict[str, pa.Table]:
    """A table for each party, with a rating that depends on what the parties hold."""
    draw = np.random.default_rng(seed)
    age, income, item = draw.normal(size=(3, count))
    rating = age + 0.5 * income - item + draw.normal(size=count)
    keys = np.arange(count)
    return {
        "alice": pa.table({"ID": keys, "Age": age, "Income": income}),
        "bob": pa.table({"ID": keys, "Item": item, "Rating": rating}),
        "carol": pa.table({"ID": keys, "Income": income}),
    }


def batch(count: int, seed: int = 0) -> dict[str, Any]:
    """Inputs of a session over either spec."""
    draw = np.random.default_rng(seed)
    names = ("alice.Age", "alice.Income", "bob.Item", "carol.Income")
    inputs = {name: draw.normal(size=(count, 1)) for name in names}
    liked, kind = draw.integers(0, 2, (count, 1)).astype(float), draw.integers(0, 3, count)
    return {**inputs, "bob.liked": liked, "bob.kind": kind}


class Recorded:
    """A session that remembers what crossed, as it crossed: `sent[program, edge]`, the last of each."""

    def __init__(
        self, folder: Path, engine: str = "onnx", facts: Facts | None = None, **changed: Any
    ) -> None:
        self.sent: dict[tuple[str, str], np.ndarray] = {}
        self.session = Session(open_bundle(folder, engine=engine), engine, 0, 1, listen=self._note)
        change: Callable[[Any], None] | None = changed.get("change")
        for guards in self.session.guards().values():
            if change is not None:
                change(guards)
        self.session.prepare(facts or Facts(64, 64, 32, 3))

    def _note(self, envelope: Any) -> None:
        for edge, tensor in envelope.tensors.items():
            self.sent[envelope.program, edge] = tensor.copy()

    def step(self, inputs: Mapping[str, Any], indices: Any = None) -> Any:
        count = len(inputs["alice.Age"])
        return self.session.step(inputs, count, np.arange(count) if indices is None else indices)
