"""Masked sums: the receiver has the sum to the last place of fixed point, and of each value noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from protecting import SUM, TWO, Recorded, batch, bundle, found
from vflc_common.words import PROGRAMS
from vflc_runtime.bundle.packing import Packing
from vflc_runtime.errors import Failure
from vflc_runtime.protect.masks import Masks, Sums, scale

MASKED = SUM + "protect a with secure_sum\n"
PACKING = Packing("masked", (3,), sum="s", members=("a", "b", "c"), places=("p", "q", "r"), range=1024.0)


def three() -> dict[str, Masks]:
    made = {place: Masks(place, {edge: PACKING}, "digest") for edge, place in zip("abc", "pqr", strict=True)}
    publics = {place: masks.public() for place, masks in made.items()}
    for masks in made.values():
        masks.agree(publics)
    return made


def test_masks_cancel_exactly_and_no_use_is_like_another():
    made, sums = three(), Sums(dict.fromkeys("abc", PACKING), "float64")
    draw = np.random.default_rng(0)
    for program in ("train", "train", "evaluate"):
        values = {edge: draw.normal(0, 100, (50, 3)) for edge in "abc"}
        sent = {e: made[p].mask(e, PACKING, values[e], program) for e, p in zip("abc", "pqr", strict=True)}
        *zeros, total = [sums.add(edge, PACKING, sent[edge]) for edge in "bca"]
        assert not any(zero.any() for zero in zeros)
        fixed = sum(np.rint(value * scale(PACKING)).astype(np.int64) for value in values.values())
        assert np.array_equal(total, fixed.astype(float) / scale(PACKING))
        assert np.abs(total - sum(values.values())).max() < 1e-12


def test_a_single_masked_value_is_uniform():
    masks, value = three()["p"], np.full((20_000, 3), 7.0)
    sent = masks.mask("a", PACKING, value, "train").view(np.uint64)
    again = masks.mask("a", PACKING, value, "train").view(np.uint64)
    for words in (sent, again, sent - again):
        for shift in (0, 24, 56):
            counts = np.bincount((words.ravel() >> np.uint64(shift)).astype(np.uint8), minlength=256)
            chi = ((counts - 60_000 / 256) ** 2 / (60_000 / 256)).sum()
            assert chi < 400, "255 degrees of freedom: beyond six deviations"
    pair = Masks("p", {"a": PACKING}, "another digest")
    pair.agree({"q": masks.public(), "r": masks.public()})
    assert not np.array_equal(pair.mask("a", PACKING, value, "train").view(np.uint64), sent)


def test_no_two_uses_share_a_mask():
    """Nor the first uses of two programs: a mask used twice gives away the difference of two values."""
    masks, nothing = three()["p"], np.zeros((4, 3))
    seen = {}
    for use in range(1, 6):
        for program in PROGRAMS:
            sent = masks.mask("a", PACKING, nothing, program)
            assert seen.setdefault(sent.tobytes(), (program, use)) == (program, use)
    assert len(seen) == 5 * len(PROGRAMS)


@pytest.mark.parametrize("what", ["the sum", "the bundle"])
def test_masks_of_another_sum_or_bundle_have_nothing_in_common(what):
    publics = {place: masks.public() for place, masks in three().items()}
    packing = replace(PACKING, sum="another") if what == "the sum" else PACKING
    mine, others = (
        Masks("p", {"a": PACKING}, "digest"),
        Masks("p", {"a": packing}, "digest" if what == "the sum" else "another"),
    )
    mine.public()
    others._private = mine._private
    sent = []
    for masks, each in ((mine, PACKING), (others, packing)):
        masks.agree({"q": publics["q"], "r": publics["r"]})
        sent.append(masks.mask("a", each, np.zeros((4, 3)), "train"))
    assert not (sent[0] == sent[1]).any()


def test_keys_that_are_agreed_anew_begin_anew():
    """As after `Restarted`: all count from the first use again, or masks do not cancel."""
    made, sums = three(), Sums(dict.fromkeys("abc", PACKING), "float64")
    made["p"].mask("a", PACKING, np.ones((2, 3)), "train")
    publics = {place: masks.public() for place, masks in made.items()}
    for masks in made.values():
        masks.agree(publics)
    total = [sums.add(e, PACKING, made[p].mask(e, PACKING, np.ones((2, 3)), "train"))
             for e, p in zip("abc", "pqr", strict=True)]  # fmt: skip
    assert np.array_equal(total[-1], np.full((2, 3), 3.0))


def test_the_largest_values_that_have_room_add_up():
    made, sums = three(), Sums(dict.fromkeys("abc", PACKING), "float64")
    for sign in (1, -1):
        value = np.full((2, 3), sign * PACKING.range)
        total = [sums.add(e, PACKING, made[p].mask(e, PACKING, value, "train"))
                 for e, p in zip("abc", "pqr", strict=True)]  # fmt: skip
        assert np.array_equal(total[-1], 3 * value)


def test_a_sum_that_was_not_completed_is_forgotten():
    made, sums = three(), Sums(dict.fromkeys("abc", PACKING), "float64")
    sums.add("a", PACKING, made["p"].mask("a", PACKING, np.ones((2, 3)), "train"))
    sums.reset()
    made = three()
    total = [sums.add(e, PACKING, made[p].mask(e, PACKING, np.ones((2, 3)), "train"))
             for e, p in zip("abc", "pqr", strict=True)]  # fmt: skip
    assert np.array_equal(total[-1], np.full((2, 3), 3.0))


def test_masks_that_do_not_cancel_are_noticed():
    made, sums = three(), Sums(dict.fromkeys("abc", PACKING), "float32")
    made["p"].mask("a", PACKING, np.ones((9, 3)), "train")  # one use ahead of the others
    with pytest.raises(Failure, match="VFL0676"):
        for edge, place in zip("abc", "pqr", strict=True):
            sums.add(edge, PACKING, made[place].mask(edge, PACKING, np.ones((9, 3)), "train"))


@pytest.mark.parametrize("value", [1025.0, -1e9, float("nan"), float("inf")])
def test_what_has_no_room_is_refused(value):
    with pytest.raises(Failure, match="VFL0675"):
        three()["p"].mask("a", PACKING, np.array([[0.0, 1.0, value]]), "train")
    with pytest.raises(Failure, match="VFL0615"):
        Masks("p", {"a": PACKING}, "d").agree({"q": b"short", "r": bytes(32)})


@pytest.mark.parametrize("engine", ["onnx", "keras"])
def test_training_on_masked_sums_is_training(engine, tmp_path):
    options = {"backends": ("onnx", "keras") if engine == "keras" else ("onnx",), "precision": "float64"}
    plain = Recorded(bundle(SUM, tmp_path / "plain", **options), engine)
    at = Recorded(bundle(MASKED, tmp_path / "b", **options), engine)
    inputs = batch(32)
    for _ in range(4):
        assert at.step(inputs).loss == pytest.approx(plain.step(inputs).loss, abs=1e-9)
    for name, weight in plain.session.weights().items():
        np.testing.assert_allclose(at.session.weights()[name], weight, atol=1e-9)
    assert at.sent["train", "a"].dtype == np.int64
    assert at.session.evaluate(inputs).loss == pytest.approx(plain.session.evaluate(inputs).loss, abs=1e-9)
    assert at.sent["evaluate", "a"].dtype == np.int64, "also where nothing is learned"
    first = at.sent["evaluate", "a"]
    at.session.evaluate(inputs)
    assert not np.array_equal(first, at.sent["evaluate", "a"])
    kinds = {entry["place"]: entry["edges"] for entry in at.session.protections()}
    assert kinds == {"alice": ["a"], "carol": ["c"]}


def test_noise_may_go_before_masks(tmp_path):
    text = SUM + "protect a with gaussian(clip = 1.0, noise = 0.5)\nprotect a with secure_sum\n"
    at = Recorded(bundle(text, tmp_path / "b"))
    at.step(batch(32))
    entries = at.session.protections()
    assert [(entry["mechanism"], entry["edges"]) for entry in entries if entry["place"] == "alice"] == [
        ("gaussian", ["a.protected"]),
        ("secure_sum", ["a.protected"]),
    ]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("tanh(a + b + c)", "tanh(a + b)"), "VFL0335"),
        (("tanh(a + b + c)", "concat(tanh(a + b + c), a)"), "VFL0335"),
        (("tanh(a + b + c)", "tanh(a * c + b)"), "VFL0335"),
        (("c = dense(carol.Income, 4)", "c = dense(carol.Income, 1)"), "VFL0335"),
    ],
)
def test_a_sum_that_hides_nothing_is_refused(change, code):
    assert [each.code for each in found(MASKED.replace(*change))] == [code]


@pytest.mark.parametrize("masked", ["a", "c"])
def test_a_value_that_is_measured_is_no_part_of_a_sum_alone(masked):
    """The label's owner would measure a masked number, or the sum."""
    text = SUM.replace(", 4)", ", 1)").replace("  label   liked", "  label   cost = Rating\n  label   liked")
    text = text.replace("predict liked", "predict cost = a of bob.cost\npredict liked")
    (mistake,) = found(
        text.replace("Item, liked", "Item, liked, cost") + f"protect {masked} with secure_sum\n"
    )
    assert mistake.code == "VFL0335"


def test_with_one_other_party_there_is_nothing_to_hide_in():
    text = TWO.replace("tanh(concat(dense(h, 4), g, bob.Item))", "tanh(g + dense(bob.Item, 2))")
    (mistake,) = found(text + "protect g with secure_sum\n")
    assert mistake.code == "VFL0335" and "no other party's value is added" in mistake.message
