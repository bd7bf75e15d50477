"""The columns of the models that peers train, as their users would hand them over: ids and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FACTORS = 16
"""The width of DeepFM's factors."""
SIZES = {
    "a": {"UserID": 6041, "Gender": 2, "Age": 7, "Occupation": 21},
    "b": {"MovieID": 3953, "Genres": 18},
}
"""Of DeepFM's tables, by the use of the spec's block and by field."""
MANY = "Genres"
"""The field that has many ids a row, which peers get as zeros and ones."""
BUCKETS = 10_000
"""Rows of each table of Wide & Deep, into which DeepRec hashes every category."""
NUMBERS = tuple(f"I{i}" for i in range(1, 14))
LARGE = (3, 4, 10, 12, 16, 21, 24, 26)
WIDTHS = {f"small.C{i}": 64 for i in range(1, 27) if i not in LARGE} | {f"large.C{i}": 128 for i in LARGE}
"""Of Wide & Deep's embeddings, by table, in the order in which the network reads them."""
UNITS = (1024, 512, 256)


def field_of(table: str) -> str:
    """The field of a table of Wide & Deep."""
    return table.partition(".")[2]


def deepfm(inputs: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
    """Columns by field, and labels [row, 1], of encoded rows by input id."""
    given = inputs[f"bob.{MANY}"]
    many = np.zeros((len(given), SIZES["b"][MANY]), np.float32)
    rows, slots = np.nonzero(given >= 0)
    many[rows, given[rows, slots]] = 1
    owners = {field: owner for use, owner in (("a", "alice"), ("b", "bob")) for field in SIZES[use]}
    columns = {
        field: many if field == MANY else inputs[f"{owner}.{field}"] for field, owner in owners.items()
    }
    return columns, inputs["bob.liked"].astype(np.float32).reshape(-1, 1)


def wide_deep(inputs: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
    """The same of Criteo's columns; all numbers are one column [row, 13]."""
    named = {name.partition(".")[2]: values for name, values in inputs.items()}
    numbers = np.concatenate([named[name].reshape(-1, 1) for name in NUMBERS], axis=1)
    columns = {
        "numbers": numbers.astype(np.float32),
        **{field_of(name): named[field_of(name)] for name in WIDTHS},
    }
    return columns, named["click"].astype(np.float32).reshape(-1, 1)


COLUMNS = {"deepfm": deepfm, "wide_deep": wide_deep}
