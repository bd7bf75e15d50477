"""What is answered in a label's stead: logits of answers and of a truth, and every sentence on them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from protecting import CLASSES, TWO
from test_protect_graphs import evaluated
from test_protect_passes import model_of, told

from vflc.ir.graph import Node
from vflc.ops.mechanisms.label_dp import likeliest


def answered(text: str) -> tuple[Any, Node, Node]:
    """A model in training, and what its cross-entropy reads for logits and for labels."""
    model = model_of(text)
    (end,) = [n for n in model.graph if n.op in ("bce_terms", "cce_terms")]
    logits, label = (model.graph[name] for name in end.inputs)
    return model, logits, label


def share(logits: np.ndarray) -> np.ndarray:
    grown = np.exp(logits - logits.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("epsilon", "prior", "answers_of"),
    [
        (0.5, None, 3),
        (2.0, None, 3),
        (0.5, [0.4, 0.3, 0.3], 3),
        (1.0, [0.5, 0.48, 0.02], 2),
        (2.0, [0.02, 0.48, 0.5], 2),
    ],
)
def test_logits_of_answers(epsilon: float, prior: list[float] | None, answers_of: int) -> None:
    """Their shares are those of the label through the chances of answers, whatever the logits."""
    given = f"label_dp(epsilon = {epsilon}" + (f", prior = {prior})" if prior else ")")
    model, logits, label = answered(CLASSES + f"protect bob.kind with {given}\n")
    top = tuple(range(3)) if prior is None else likeliest(prior, epsilon)
    assert len(top) == answers_of
    keep = math.exp(epsilon) / (math.exp(epsilon) + len(top) - 1)
    table = np.zeros((3, 3))
    for true in range(3):
        for answer in top:
            other = (1 - keep) / (len(top) - 1)
            table[true, answer] = (keep if true == answer else other) if true in top else 1 / len(top)
    draw = np.random.default_rng(1)
    raw = draw.normal(0, 3, (20, 3))
    found = evaluated(_until(model, logits.id, "logits"), {"logits": raw})[logits.id]
    np.testing.assert_allclose(share(found), share(raw) @ table, atol=1e-9)
    kind, shift, other = (
        draw.integers(0, 3, 20),
        draw.integers(0, len(top), 20),
        draw.integers(0, len(top), 20),
    )
    drawn = [n for n in model.graph if n.op == "drawn"]
    feeds = {"bob.kind": kind, **dict(zip((n.id for n in drawn), (shift, other), strict=False))}
    answers = evaluated(_until(model, label.id, *feeds), feeds)[label.id]
    wanted = [
        top[(top.index(y) + s) % len(top)] if y in top else top[o]
        for y, s, o in zip(kind.tolist(), shift.tolist(), other.tolist(), strict=True)
    ]
    assert answers.tolist() == wanted
    assert len(drawn) == 1 + (len(top) < 3) and drawn[0].attrs["keep"] == pytest.approx(keep)
    (guard,) = model.guards
    assert (guard.place, guard.phase, guard.before, guard.reads) == (
        "bob",
        "forward",
        ("bob.kind",),
        "bob.kind",
    )


def test_logits_of_answers_of_a_truth() -> None:
    model, logits, label = answered(TWO + "protect bob.liked with label_dp(epsilon = 1.5)\n")
    z = np.linspace(-9, 9, 21)[:, None]
    found = evaluated(_until(model, logits.id, "logit"), {"logit": z})[logits.id]
    keep = math.exp(1.5) / (math.exp(1.5) + 1)
    p = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(1 / (1 + np.exp(-found)), keep * p + (1 - keep) * (1 - p), atol=1e-12)
    (drawn,) = [n for n in model.graph if n.op == "drawn"]
    feeds = {"bob.liked": np.array([[0.0], [1], [0], [1]]), drawn.id: np.array([[0.0], [0], [1], [1]])}
    answers = evaluated(_until(model, label.id, *feeds), feeds)[label.id]
    assert answers.tolist() == [[0], [1], [1], [0]] and drawn.attrs["classes"] == 2


def _until(model: Any, wanted: str, *given: str) -> Any:
    """What a value is made of, from given ones on."""
    needed, stack = set(given), [wanted]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack += model.graph[name].inputs
    return SimpleNamespace(graph=model.graph.only(needed))


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("label_dp(epsilon = 1, prior = [0.5, 0.5])", "VFL0348", "has 3 classes, but the prior has 2 shares"),
        ("label_dp(epsilon = 0.01, prior = [0.9, 0.05, 0.05])", "VFL0348", "every answer would be class 0"),
        ("label_dp(epsilon = 1, prior = [1, 0, 0])", "VFL0348", "every answer would be class 0"),
        ("label_dp(epsilon = 1)\nprotect bob.kind with label_dp(epsilon = 2)", "VFL0336", "protected twice"),
    ],
)
def test_what_is_said_of_labels(line: str, code: str, says: str) -> None:
    found = told(f"{CLASSES}protect bob.kind with {line}\n")
    assert found.code == code and says in found.message and found.help


def test_labels_that_enter_otherwise() -> None:
    line = "protect bob.kind with label_dp(epsilon = 1)\n"
    two = CLASSES.replace(
        "cce(logits, bob.kind)", "cce(logits, bob.kind) + mse(sum(logits), sum(one_hot(bob.kind)))"
    )
    assert "is also read by `one_hot`" in told(two + line).message
    none = CLASSES.replace("objective cce(logits, bob.kind)", "objective mse(logits, logits * 0)")
    assert (
        "is not a label that a loss reads" in told(none + line).message
        or "no cross-entropy" in told(none + line).message
    )
    lone = CLASSES.replace("label   kind: int -> index(3)", "label   kind: int -> index(1)").replace(
        "tanh(concat(h, bob.Item)), 3)", "tanh(concat(h, bob.Item)), 1)"
    )
    assert "is not used in a cross-entropy" in told(lone + line).message
    value = told(CLASSES + "protect h with label_dp(epsilon = 1)\n")
    assert (
        value.help == "the labels are `bob.kind`"
        and "`label_dp` is for labels, but `h` is not a label" in value.message
    )
