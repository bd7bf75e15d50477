"""How much of a model that is written as one table crosses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from push_down.one_table import NAMES, compiled, floats, one_table

from vflc.diagnostics import Refused
from vflc.emit.bundle import Bundle
from vflc.passes.push_down import choose
from vflc.passes.push_down.choose import attempt
from vflc.passes.push_down.cost import hops

LANGUAGE = (Path(__file__).resolve().parents[2] / "docs" / "language.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+\(F.*)` \| (\d+) \| (\d+) \|", LANGUAGE, re.MULTILINE)


def measured(model: str, count: int, push_down: bool) -> dict[str, int]:
    """What parties with 10 ids and 10 numbers each send forward of a model of docs/language.md."""
    made = re.sub(r"\bF\b", "FEATURES", model)
    text = f"logit = {made}" if "tasks" not in made else f"logits = {made}\nlogit = logits[0] + logits[1]"
    return floats(compiled(one_table(text, count, ids=10, numbers=10), push_down=push_down))


@pytest.mark.parametrize(("model", "pushed", "written"), ROWS)
def test_the_table_of_the_language_is_what_crosses(model: str, pushed: str, written: str) -> None:
    for count in (2, 3):
        senders = NAMES[: count - 1]
        assert measured(model, count, True) == dict.fromkeys(senders, int(pushed))
    assert measured(model, 2, False) == {"alice": int(written)}


def test_the_table_of_the_language_has_the_models_it_should() -> None:
    names = [model.partition("(")[0] for model, _, _ in ROWS]
    assert names == ["LogisticRegression", "FM", "DeepFM", "WideDeep", "MMoE", "DCN"]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_logistic_regression_sends_one_number_a_party(count: int) -> None:
    bundle = compiled(one_table("logit = LogisticRegression(FEATURES)", count))
    assert floats(bundle) == dict.fromkeys(NAMES[: count - 1], 1)
    assert floats(bundle, "backward") == {NAMES[count - 1]: count - 1}


@pytest.mark.parametrize("count", [2, 3])
def test_a_factorization_machine_sends_the_sum_of_its_factors_and_one_number(count: int) -> None:
    bundle = compiled(one_table("logit = FM(FEATURES, k = 16)", count, numbers=2))
    assert floats(bundle) == dict.fromkeys(NAMES[: count - 1], 17)


def test_a_deepfm_sends_its_first_layer_the_sum_and_one_number() -> None:
    model = "logit = DeepFM(FEATURES, k = 16, units = [256, 32])"
    bundle = compiled(one_table(model, ids=10, numbers=10))
    assert floats(bundle) == {"alice": 256 + 16 + 1}


def test_what_is_narrower_than_the_layer_that_reads_it_crosses_as_it_is() -> None:
    model = "logit = DeepFM(FEATURES, k = 16, units = [256, 32])"
    bundle = compiled(one_table(model, ids=2, numbers=0))
    assert floats(bundle) == {"alice": 2 * 16 + 1}


def test_experts_and_gates_read_one_joined_value() -> None:
    """Every layer that reads it sends its part once: no more than their widths together."""
    model = """
    logits = MMoE(FEATURES, k = 8, tasks = 2, experts = 2, expert_units = [16, 8], tower_units = [4])
    logit = logits[0] + logits[1]
    """
    bundle = compiled(one_table(model, ids=10, numbers=10))
    assert floats(bundle) == {"alice": 2 * 16 + 2 * 2}


def test_who_clips_by_the_norm_is_told_that_it_keeps_kernels_whole() -> None:
    model, train = "logit = dense(concat(alice.x0, bob.x0), 1)", "optimizer sgd(lr = 0.1)  clip_norm 1"
    text = one_table(model, ids=0)
    compiled(text)
    with pytest.raises(Refused) as refused:
        compiled(text.replace("optimizer sgd(lr = 0.1)", train))
    (found,) = (each for each in refused.value.diagnostics if each.code in ("VFL0301", "VFL0302"))
    assert "take `clip_norm` out of `train`" in str(found.help)


@pytest.mark.parametrize(("batch", "units", "waits"), [(128, 30, 1), (128, 400, 3), (4096, 30, 3)])
def test_a_hop_is_worth_as_many_bytes_as_cross_in_its_time(batch: int, units: int, waits: int) -> None:
    """Shares of joined values in pieces take three hops and 36 bytes a row, as written one and all values."""
    model = f"logit = dense(softmax(concat(dense(alice.x0, {units}), dense(bob.x0, {units}))), 1)"
    bundle = compiled(one_table(model, ids=0, train=f"batch {batch}  optimizer sgd(lr = 0.1)"))
    assert hops(bundle.model.graph.only(forward(bundle))) == waits


def forward(bundle: Bundle) -> set[str]:
    return {node.id for node in bundle.model.graph if node.phase == "forward"}


def test_cross_layers_need_the_value_itself() -> None:
    bundle = compiled(one_table("logit = DCN(FEATURES, k = 4, units = [64])", ids=2, numbers=1))
    assert floats(bundle) == {"alice": 3 * 4}


def test_raw_numbers_pass_where_a_trained_weight_has_touched_them() -> None:
    """Not pushed down, the layer would read the features themselves."""
    model = "x = concat(alice.x0, alice.x1, bob.x0)\nlogit = dense(mlp(x, [8]), 1)"
    text = one_table(model, ids=0, numbers=2)
    assert floats(compiled(text)) == {"alice": 8}
    with pytest.raises(Refused) as refused:
        compiled(text, push_down=False)
    assert {found.code for found in refused.value.diagnostics} == {"VFL0302"}


def test_the_end_stays_with_the_labels_though_a_raw_number_makes_it_cheaper_elsewhere() -> None:
    """Put together as written, the raw number keeps it all at alice: bob's 4 numbers would go there for 8."""
    model = "x = concat(alice.x0, dense(embed(bob.c0, dim = 4), 4))\nlogit = dense(mlp(x, [8]), 1)"
    bundle = compiled(one_table(model))
    assert floats(bundle) == {"alice": 8} and bundle.model.graph["logit"].place == "bob"


def test_push_down_false_leaves_all_as_written() -> None:
    model = "logit = LogisticRegression(FEATURES)"
    plain = compiled(one_table(model, train="push_down false"))
    assert floats(plain) == {"alice": 3} == floats(compiled(one_table(model), push_down=False))


def test_what_has_a_place_is_left_where_it_is() -> None:
    model = """
    a = embed(alice.features, dim = 4)
    fuse at bob { logit = dense(flatten(a), 1) + dense(flatten(embed(bob.features, dim = 4)), 1) }
    """
    assert floats(compiled(one_table(model))) == {"alice": 12}


@pytest.mark.parametrize(("wide", "most"), [(lambda _: 4, 2), (lambda index: 4 + index, 34)])
def test_joined_values_that_are_alike_are_decided_together(
    wide: Callable[[int], int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of many kinds the last ones, too: a way that is tried takes as long as the model is large."""
    models = [f"v{index} = mlp(flatten(embed(FEATURES, dim = {wide(index)})), [8])" for index in range(40)]
    logit = "logit = " + " + ".join(f"dense(v{index}, 1)" for index in range(40))
    tried = []

    def counted(*arguments: Any) -> Any:
        tried.append(arguments)
        return attempt(*arguments)

    text = one_table("\n".join([*models, logit]))
    monkeypatch.setattr(choose, "attempt", counted)
    bundle = compiled(text, protections=False)
    assert floats(bundle) == {"alice": sum(min(8, 3 * wide(index)) for index in range(40))}
    assert len(tried) <= most
