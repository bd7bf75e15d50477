"""A key of several columns: rows match where all columns do, whatever their values hold."""

from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partying import compiled, tensors, train_alone, train_together
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.keys import readable, restored_columns
from vflc_runtime.errors import Failure
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions

SPEC = """
party host {
  key "host id", Day
  feature City: string -> hash(9)
}
party guest {
  key ID, Day
  feature Age: float -> standardize
  label y: int
}
h = mlp(flatten(embed(host.City, dim = 2)), [4])
logit = dense(mlp(concat(dense(guest.Age, 2), h), [4]), 1) at guest
predict y = sigmoid(logit)
objective bce(logit, guest.y)
release host { to guest: City }
release guest { to host: y, Age }
"""
OPTIONS = TrainOptions(epochs=2, batch=16)
PAIRS = [*product(range(8), ("2024-01-01", "2024-01-02", "2024-01-03"))]
GUEST = pa.table(
    {
        "ID": [i for i, _ in PAIRS],
        "Day": pa.array([day for _, day in PAIRS]).cast(pa.date32()),
        "Age": [float(i % 7) for i in range(24)],
        "y": [i // 2 % 2 for i in range(24)],
    }
)
HOST = pa.table(
    {"host id": [str(i) for i, _ in PAIRS], "Day": [day for _, day in PAIRS], "City": [*"abcd"] * 6}
)
NASTY = st.text("ab\x01\x02, \\'", min_size=1, max_size=4).filter(str.strip)


def test_it_trains_alone_and_between_processes_and_predicts_by_its_columns(tmp_path: Path) -> None:
    bundle = compiled("keys", SPEC, tmp_path / "bundle")
    mixed = HOST.take([*reversed(range(24))])
    alone = train_alone(bundle, {"host": mixed, "guest": GUEST}, tmp_path / "alone", OPTIONS)
    predict(alone, {"host": mixed, "guest": GUEST}, tmp_path / "all.parquet")
    found = pq.read_table(tmp_path / "all.parquet")
    assert found.column_names == ["ID", "Day", "y"]
    assert found.select(["ID", "Day"]).equals(GUEST.select(["ID", "Day"]))
    predict(alone, {"host": mixed, "guest": GUEST.slice(0, 5)}, tmp_path / "all.csv")
    assert csv.read_csv(tmp_path / "all.csv").num_rows == 5
    apart = train_together(bundle, {"host": mixed, "guest": GUEST}, tmp_path / "apart", OPTIONS)
    assert not any(isinstance(each, BaseException) for each in apart.values()), apart
    for place in ("host", "guest"):
        assert tensors(tmp_path / "apart" / place, place) == tensors(alone, place)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(NASTY, NASTY), min_size=1, max_size=8, unique=True))
def test_no_values_make_two_keys_one(pairs: list[tuple[str, str]]) -> None:
    info = {"key": ["a", "b"], "columns": []}
    opened = open_tables(
        {"p": info}, {"p": pa.table({name: [pair[i] for pair in pairs] for i, name in enumerate("ab")})}
    )
    try:
        assert opened.rows == len(pairs)
        columns = restored_columns(info, opened.keys, opened.key_types["p"], ".csv")
    finally:
        opened.close()
    assert [*zip(columns["a"].to_pylist(), columns["b"].to_pylist(), strict=True)] == sorted(
        pairs, key=lambda pair: [text.encode() for text in pair]
    )


@pytest.mark.parametrize(
    "columns, code, said",
    [
        ({"a": ["1", "1"], "b": ["x", "x"]}, "VFL0605", "key columns a, b has the same key .* '1, x'"),
        (
            {"a": ["1", "1"], "b": ["x", " "]},
            "VFL0616",
            "key columns a, b are blank in one row, first in row 2",
        ),
        ({"a": ["1", "1"], "b": ["x", None]}, "VFL0616", "first in row 2"),
        ({"a": ["1", "1"]}, "VFL0602", "no column b"),
        ({"a": ["1"], "b": [[1]]}, "VFL0634", "key column b holds"),
    ],
)
def test_what_is_no_key_is_said(columns: dict[str, list[object]], code: str, said: str) -> None:
    with pytest.raises(Failure, match=said) as caught:
        open_tables({"p": {"key": ["a", "b"], "columns": []}}, {"p": pa.table(columns)})
    assert caught.value.code == code


def test_a_key_is_shown_as_its_columns() -> None:
    assert readable("u\x01\x02\x01\x01v") == "u\x01, v"
    assert readable("u") == "u"
