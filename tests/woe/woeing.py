"""What the tests of weights of evidence share: a scorecard over two parties, and tables with a signal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

CARD = """
party alice {
  key ID
  feature Income: float  -> missing(-1) -> bucketize(0, 20, 40, 60)
  feature City:   string -> vocab("a", "b", "c", default = other)
}
party bob {
  key ID
  feature Age: int -> quantiles(5)
  column  Status: string
  column  Amount: float
  column  Until:  int
  label   bad = Status == "bad"
  weight  Paid = Amount
}
x = woe(alice.features + bob.features, bob.bad)
logit = sum(x * weight(size(x), init = ones)) + weight(1, init = zeros)
predict bad = sigmoid(logit)
objective bce(logit, bob.bad)
release alice { to bob: Income at most 2.4 bits, City at most 2 bits }
train { optimizer adam(lr = 0.02) batch 200 epochs 4 metrics auc }
"""
"""Only bins cross, and only to bob: he grants nothing."""


def compiled(text: str, folder: Path, precision: str = "float64") -> Path:
    compile_source(SourceText("card.vfl", text), precision=precision).write(folder)
    return folder


def tables(rows: int = 1200, seed: int = 0) -> dict[str, Any]:
    """Who earns little, is young or lives in b defaults more often; some incomes are missing."""
    rng = np.random.default_rng(seed)
    income, age = rng.normal(40, 20, rows).clip(1), rng.integers(18, 80, rows)
    city = rng.choice(list("abcd"), rows)
    z = -0.5 - 0.05 * (income - 40) + 1.2 * (city == "b") - 0.04 * (age - 45)
    bad = rng.random(rows) < 1 / (1 + np.exp(-z))
    known = rng.random(rows) > 0.1
    keys = np.arange(rows)
    return {
        "alice": pa.table({"ID": keys, "Income": pa.array(income, mask=~known), "City": city}),
        "bob": pa.table({
            "ID": keys, "Age": age, "Status": np.where(bad, "bad", "good"),
            "Amount": rng.integers(1, 5, rows).astype(float), "Until": rng.integers(0, 10, rows),
        }),
    }  # fmt: skip


def bins_of(data: dict[str, Any]) -> dict[str, Any]:
    """The bins of Income and City of each row, as numpy makes them; 0 is no income, or another city."""
    income = data["alice"]["Income"].fill_null(-1).to_numpy()
    cities = data["alice"]["City"].to_pylist()
    return {
        "Income": np.digitize(income, [0, 20, 40, 60]),
        "City": np.array(["abc".find(city) + 1 for city in cities]),
    }


def evidence(bins: Any, y: Any, count: int, smoothing: float = 1.0, weight: Any = None) -> tuple[Any, float]:
    """Weights of evidence by hand, bin by bin, and their information value."""
    w = np.ones(len(y)) if weight is None else weight
    with_, without = (w * y).sum(), (w * (1 - y)).sum()
    share, found, information = with_ / (with_ + without), [], 0.0
    for i in range(count):
        has, lacks = (w * y)[bins == i].sum(), (w * (1 - y))[bins == i].sum()
        woe = np.log(((has + smoothing * share) / with_) / ((lacks + smoothing * (1 - share)) / without))
        found.append(woe)
        information += (has / with_ - lacks / without) * woe
    return np.array(found), information


def bad_of(data: dict[str, Any]) -> Any:
    return np.array([status == "bad" for status in data["bob"]["Status"].to_pylist()], float)
