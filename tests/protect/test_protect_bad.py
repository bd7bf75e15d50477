"""Mistakes in what a spec asks for: each said at its own text, with what to do."""

from __future__ import annotations

import pytest
from protecting import TWO, found

CASES = [
    ("protect h with gausian(clip = 1.0, epsilon = 8)", "VFL0332", "did you mean `gaussian`?"),
    ("protect h with 3", "VFL0332", "use one of: dp_sgd, gaussian"),
    ("protect h with gaussian(clp = 1.0, epsilon = 8)", "VFL0332", "did you mean `clip`?"),
    ("protect h with gaussian(clip = 1.0)", "VFL0332", "as in: gaussian"),
    ("protect h with gaussian(epsilon = 8)", "VFL0332", "give a number above 0"),
    ("protect h with gaussian(clip = -1.0, epsilon = 8)", "VFL0205", None),
    ('protect h with gaussian(clip = "a", epsilon = 8)', "VFL0205", None),
    ("protect h with quantize(bits = 1)", "VFL0205", None),
    ("protect h with quantize(bits = 2.5)", "VFL0205", None),
    ("protect hh with quantize(bits = 4)", "VFL0330", "did you mean `h`?"),
    ("protect nothing.like.it with quantize(bits = 4)", "VFL0330", "the edges are"),
    ("protect logit with quantize(bits = 4)", "VFL0331", "what leaves is `h`, `g`"),
    ("protect h with marvell(sum_kl = 0.25)", "VFL0333", "protect gradients to PARTY with marvell"),
    ("protect h with label_dp(epsilon = 1)", "VFL0333", "the labels are `bob.liked`"),
    ("protect gradients to alice with label_dp(epsilon = 1)", "VFL0333", "the labels are `bob.liked`"),
    ("protect gradients to alice with secure_sum", "VFL0333", "as in: protect VALUE with secure_sum"),
    ("protect gradients to bob with max_norm", "VFL0334", "gradients go to alice"),
    ("protect gradients to carol with max_norm", "VFL0403", "use one of: alice, bob"),
    ("protect h with gaussian(clip = 1.0, epsilon = 8)\nprotect h with gaussian(clip = 2.0, noise = 1.0)",
     "VFL0336", "one mechanism that adds noise"),
    ("protect h with quantize(bits = 4)\nprotect h with gaussian(clip = 2.0, noise = 1.0)", "VFL0336", None),
    ("protect bob.liked with label_dp(epsilon = 1)\nprotect bob.liked with label_dp(epsilon = 2)",
     "VFL0336", "a label is drawn only once"),
    ("protect bob.liked with label_dp(epsilon = 1)\nprotect gradients to alice with marvell(sum_kl = 0.25)",
     "VFL0333", "use `gaussian`, `iso` or `max_norm`: they need no label"),
    ("protect h with gaussian(clip = 1.0, epsilon = 0.0001, delta = 1e-9)", "VFL0337", "larger ε"),
    ("protect h with gaussian(clip = 1.0, epsilon = 0.5, limit = 10.0)", "VFL0337", "larger ε"),
    ("protect h with gaussian(clip = 1.0, noise = 1.0, epsilon = 1)", "VFL0312", "remove `noise`"),
    ("protect weights at carol with dp_sgd(clip = 1.0, epsilon = 8)", "VFL0403", "use one of: alice, bob"),
    ("protect weights at alcie with dp_sgd(clip = 1.0, epsilon = 8)", "VFL0403", "did you mean `alice`?"),
    ("protect weights at alice with dp_sgd(clip = 1.0)", "VFL0332", "as in: dp_sgd"),
    ("protect weights at alice with dp_sgd(epsilon = 8)", "VFL0332", "give a number above 0"),
    ("protect weights at alice with gaussian(clip = 1.0, epsilon = 8)", "VFL0333", "dp_sgd"),
    ("protect weights at alice with label_dp(epsilon = 8)", "VFL0333", "dp_sgd"),
    ("protect h with dp_sgd(clip = 1.0, epsilon = 8)", "VFL0333", "protect weights at PARTY"),
    ("protect gradients to alice with dp_sgd(clip = 1.0, epsilon = 8)", "VFL0333", "protect weights at"),
    ("protect bob.liked with dp_sgd(clip = 1.0, epsilon = 8)", "VFL0333", "protect weights at PARTY"),
    ("protect weights *.wide at alice with dp_sgd(clip = 1.0, epsilon = 8)", "VFL0345", "`h.mlp.0.kernel`"),
    ("protect weights h.*, logit.* at alice with dp_sgd(clip = 1.0, epsilon = 8)", "VFL0345", "`g.dense."),
    ("protect weights at alice with dp_sgd(clip = 1.0, epsilon = 8)\n"
     "protect weights g at alice with dp_sgd(clip = 1.0, epsilon = 8)", "VFL0336", "name all weights in one"),
    ("protect weights at alice with dp_sgd(clip = 1.0, epsilon = 0.0001, delta = 1e-9)", "VFL0337", "larger"),
    ("protect weights at alice with dp_sgd(clip = 1.0, noise = 1.0, epsilon = 1)", "VFL0312", "remove"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "help"), CASES, ids=[line for line, _, _ in CASES])
def test_mistake(line, code, help):
    text = TWO + line + "\n"
    mistakes = found(text)
    assert [each.code for each in mistakes] == [code]
    (mistake,) = mistakes
    assert mistake.span.source.position(mistake.span.start)[0] == len(text.rstrip().splitlines())
    assert help is None or help in mistake.help


GOOD = [
    "protect h.gradient with iso(scale = 1.0)",
    "protect gradients to alice with max_norm\nprotect gradients to alice with quantize(bits = 8)",
    "protect h with gaussian(clip = 1.0, epsilon = 8)\nprotect h with top_k(k = 2)",
    "protect weights h.*, g.dense.kernel at alice with dp_sgd(clip = 1.0, epsilon = 8)\n"
    "protect weights g.dense.bias at alice with dp_sgd(clip = 0.1, noise = 2)",
    "protect weights at bob with dp_sgd(1.0, 8)\nprotect weights at alice with dp_sgd(1.0, 8, 1e-5)",
    "protect weights at alice with dp_sgd(clip = 1.0, epsilon = 8)\n"
    "protect h with gaussian(clip = 1.0, epsilon = 8)\nprotect gradients to alice with max_norm",
]


@pytest.mark.parametrize("line", GOOD)
def test_no_mistake(line):
    assert not found(TWO + line + "\n")


def test_a_weight_read_elsewhere_has_no_rows():
    text = TWO.replace(
        "g = dense(concat(alice.Age, alice.Income), 2)",
        "w = weight(2) at alice\ng = dense(concat(alice.Age, alice.Income), 2)",
    ).replace("g, bob.Item", "g * w, bob.Item")
    assert [each.code for each in found(text + "protect gradients to alice with max_norm\n")] == ["VFL0333"]
