"""Sequences of ids: the encoder, masks, positions and attention; sizes and choices at compile time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from granting import granted
from vflc_runtime.data.chain import EncoderChain
from vflc_runtime.run.session import Session

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

PARTY = """party bob {
  key ID
  feature past: string -> split(" ") -> hash(20) -> sequence(max = 3)
  feature item: int -> index(20)
  label   y = target > 0
  column  target: float
}
"""
END = "predict y = sigmoid(logit)\nobjective bce(logit, bob.y)\n"


def compiled(body: str, precision: str = "float64") -> Any:
    return compile_source(SourceText("spec.vfl", granted(PARTY + body + END)), precision=precision)


def refused(body: str) -> str:
    with pytest.raises(Refused) as error:
        compiled(body)
    (found,) = error.value.diagnostics
    assert found.help
    return f"{found.code} {found.message}"


def predicted(body: str, folder: Path, past: list[list[int]], item: list[int]) -> Any:
    compiled(body).write(folder)
    inputs = {"bob.past": np.array(past, np.int32), "bob.item": np.array(item, np.int32)}
    session = Session(folder, seed=1, threads=1, programs=("predict",))
    return session.predict(inputs)["y"], session.weights()


# --- the encoder -------------------------------------------------------------------------------------


def chain(*encoders: dict[str, Any]) -> EncoderChain:
    return EncoderChain(
        "bob.past", {"shape": "ids", "rows": 5, "kind": "feature", "encoders": list(encoders)}
    )


SPLIT = {"name": "split", "separator": " "}
VOCAB = {"name": "vocab", "values": ["a", "b", "c", "d"], "default": "other"}


def test_a_sequence_keeps_the_latest_values_and_has_a_fixed_width():
    values = pa.array(["a b c d", "", "d", None, "x a x b"])
    keys = pa.array(range(5))
    encoded = chain(SPLIT, VOCAB, {"name": "sequence", "max": 3})
    assert encoded.encode(values, keys).tolist() == [
        [2, 3, 4], [-1, -1, -1], [4, -1, -1], [-1, -1, -1], [1, 0, 2],
    ]  # fmt: skip
    assert encoded.counts.unknown == 1, "values that are cut off are not counted"
    assert chain(SPLIT, VOCAB, {"name": "sequence", "max": 6}).encode(values, keys).shape == (5, 6)


def test_the_plan_knows_the_length_of_a_sequence():
    bundle = compiled("t = table(20, 2)\nlogit = dense(flatten(lookup(t, bob.past)), 1)\n")
    plan = json.loads(bundle.files["bob/plan.json"])
    assert next(i["shape"] for i in plan["inputs"] if i["id"] == "bob.past") == [None, 3]


def test_a_sequence_follows_many_ids():
    broken = PARTY.replace('string -> split(" ") -> hash(20)', "int -> index(20)")
    with pytest.raises(Refused) as error:
        compile_source(SourceText("spec.vfl", broken + "logit = dense(embed(bob.item, dim = 2), 1)\n" + END))
    assert "VFL0204" in {d.code for d in error.value.diagnostics}
    broken = PARTY.replace("max = 3", "max = 0")
    with pytest.raises(Refused) as error:
        compile_source(SourceText("spec.vfl", broken + "logit = dense(embed(bob.item, dim = 2), 1)\n" + END))
    assert "VFL0205" in {d.code for d in error.value.diagnostics}


# --- functions ---------------------------------------------------------------------------------------

PAST, ITEM = [[4, 7, -1], [-1, -1, -1], [3, 3, 9]], [4, 5, 6]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_present_marks_what_is_there(tmp_path: Path):
    body = "logit = dense(concat(present(bob.past), present(bob.item)), 1)\n"
    y, w = predicted(body, tmp_path, PAST, ITEM)
    there = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1]])
    (kernel,) = (v for v in w.values() if v.ndim == 2)
    np.testing.assert_allclose(y, sigmoid(there @ kernel), rtol=1e-12)


def test_attention_passes_over_what_is_not_there(tmp_path: Path):
    body = (
        "t = table(20, 4)\nh = lookup(t, bob.past)\nc = lookup(t, bob.item)\n"
        "logit = sum(attention(c, h, h, present(bob.past)))\n"
    )
    y, w = predicted(body, tmp_path, PAST, ITEM)
    (table,) = w.values()
    for row, (past, item) in enumerate(zip(PAST, ITEM, strict=True)):
        keys = table[[i for i in past if i >= 0]]
        scores = np.exp(keys @ table[item] / 2)
        expected = (scores / scores.sum()) @ keys if len(keys) else np.zeros(4)
        np.testing.assert_allclose(y[row], sigmoid(expected.sum()), rtol=1e-9)


def test_positions_and_expand(tmp_path: Path):
    body = (
        "t = table(20, 4)\nx = positions(lookup(t, bob.past), axis = value)\n"
        "logit = sum(x * expand(lookup(t, bob.item), like = x))\n"
    )
    y, w = predicted(body, tmp_path, PAST, ITEM)
    table, places = (next(v for v in w.values() if len(v) == n) for n in (20, 3))
    known = np.where((np.array(PAST) >= 0)[..., None], table[np.array(PAST)], 0) + places
    np.testing.assert_allclose(y[:, 0], sigmoid((known * table[ITEM][:, None]).sum((1, 2))), rtol=1e-9)


def test_functions_refuse_what_does_not_fit():
    t = "t = table(20, 4)\nh = lookup(t, bob.past)\n"
    assert refused(t + "logit = sum(attention(h, dense(h, 3), h))\n").startswith("VFL0201 attention")
    assert refused(t + "logit = sum(attention(h, sum(h), h))\n").startswith("VFL0201 attention over")
    assert refused(t + "logit = sum(expand(h, like = sum(h, axis = value)))\n").startswith("VFL0201")
    assert refused(t + "logit = sum(present(h))\n").startswith("VFL0201 present")


# --- while the graph is built --------------------------------------------------------------------------


def test_size_is_a_number():
    body = (
        "t = table(20, 4)\nh = lookup(t, bob.past)\nn = size(bob.features)\n"
        "logit = dense(flatten(dense(h, size(h) * size(h, axis = value) + n)), 1)\n"
    )
    plan = json.loads(compiled(body).files["bob/plan.json"])
    assert [4, 4 * 3 + 2] in [weight["shape"] for weight in plan["weights"]]


def test_size_refuses_what_has_none():
    assert refused("logit = dense(embed(bob.item, dim = 2), size(3))\n").startswith("VFL0203")
    assert refused("logit = dense(embed(bob.item, dim = 2), size())\n").startswith("VFL0107")
    body = "x = embed(bob.features, dim = 2)\nlogit = dense(flatten(x), size(x, axis = fields))\n"
    assert refused(body).startswith("VFL0202")
    body = "logit = dense(embed(bob.item, dim = 2), size(lookup(table(20, 2), bob.past), axis = value))\n"
    text = PARTY.replace(" -> sequence(max = 3)", "") + body + END
    with pytest.raises(Refused, match="VFL0205"):
        compile_source(SourceText("spec.vfl", text))


def test_where_with_a_known_condition_builds_only_what_it_chooses():
    body = "x = embed(bob.item, dim = 2)\nlogit = where(size(x) > 1 and true, dense(x, 1), dense(x, 2))\n"
    plan = json.loads(compiled(body).files["bob/plan.json"])
    assert sorted(weight["shape"] for weight in plan["weights"]) == [[1], [2, 1], [20, 2]]


def test_a_block_may_use_itself_as_often_as_a_condition_holds():
    deep = (
        "block Deep(x, n) {\n y = dense(x, n)\n return where(n > 1, Deep(y, n - 1), y)\n}\n"
        "logit = Deep(embed(bob.item, dim = 2), {n})\n"
    )
    plan = json.loads(compiled(deep.replace("{n}", "4")).files["bob/plan.json"])
    shapes = [weight["shape"] for weight in plan["weights"] if len(weight["shape"]) == 2]
    assert sorted(shapes) == [[2, 1], [2, 4], [3, 2], [4, 3], [20, 2]]
    with pytest.raises(Refused, match="VFL0103"):
        compiled(deep.replace("n - 1", "n").replace("{n}", "2"))


# --- what these models showed --------------------------------------------------------------------------


def test_the_gradient_of_a_table_may_come_straight_from_another_place(tmp_path: Path):
    """A table's row that crosses as it is: its gradient comes back and reaches only the update."""
    text = (
        "party alice {\n key ID\n feature user: int -> index(4)\n}\n"
        + PARTY
        + "e = embed(alice.features + [bob.item], dim = 2)\nfuse at bob { logit = sum(e) }\n"
        + END
    )
    bundle = compile_source(SourceText("spec.vfl", granted(text)), precision="float64")
    bundle.write(tmp_path)
    session = Session(tmp_path, seed=1, threads=1)
    before = session.weights()
    inputs = {
        "alice.user": np.array([1, 2], np.int32), "bob.item": np.array([3, 4], np.int32),
        "bob.y": np.array([[1.0], [0.0]]),
    }  # fmt: skip
    session.step(inputs)
    after = session.weights()
    (user,) = (name for name, weight in before.items() if weight.shape == (4, 2))
    assert (after[user] != before[user]).any(1).tolist() == [False, True, True, False]


def test_blocks_that_end_in_each_other_may_use_the_same_names():
    body = (
        "block Inner(x) {\n h = dense(x, 3)\n return dense(h, 1)\n}\n"
        "block Outer(x) {\n h = dense(x, 4)\n return Inner(h)\n}\n"
        "logit = Outer(embed(bob.item, dim = 2))\n"
    )
    compiled(body)
