"""Labels are drawn once for a table, over runs, seeds and new rows; and among the likeliest classes."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from party.partying import train_together
from protecting import CLASSES, TWO, Recorded, batch, bundle, found
from test_protect_phases import rows
from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.protect.costs import costs
from vflc_runtime.run.train import TrainOptions, train

from vflc.ir.graph import Node
from vflc.ir.types import ROWS, TensorType
from vflc.ops.mechanisms.label_dp import likeliest
from vflc.ops.protect import reference_answered

BINARY = TWO + "protect bob.liked with label_dp(epsilon = 1)\n"
BINARY = BINARY.replace("to alice: Item, liked", "to alice: Item, liked at most epsilon 2")


def run(folder: Path, out: Path, tables: Any = None, **options: Any) -> dict[str, np.ndarray]:
    train(folder, tables or rows(64), out, TrainOptions(threads=1, epochs=1, **options))
    return drawn(out)


def drawn(out: Path, place: str = "bob") -> dict[str, np.ndarray]:
    return files.read_tensors(out / place / "protections.safetensors")[0]


def spent(ledger: Path) -> tuple[float, int]:
    (found,) = (each for each in costs(ledger)["bob"] if each["name"] == "liked")
    return found["epsilon"], found["times"]


def keyed(tables: dict[str, Any], keys: np.ndarray) -> dict[str, Any]:
    return {name: table.set_column(0, "ID", pa.array(keys)) for name, table in tables.items()}


def part(tables: dict[str, Any], chosen: np.ndarray) -> dict[str, Any]:
    return {name: table.take(pa.array(chosen)) for name, table in tables.items()}


def test_runs_on_one_table_have_one_draw_and_it_counts_once(tmp_path):
    folder = bundle(BINARY, tmp_path / "b")
    first = run(folder, tmp_path / "0")["protect_1.drawn"]
    assert set(np.unique(first)) == {0, 1}
    for seed in (1, 2):
        again = run(folder, tmp_path / str(seed), seed=seed)["protect_1.drawn"]
        assert np.array_equal(again, first), "a vote over runs finds nothing"
    assert spent(tmp_path / "ledger") == (1, 1)


def test_the_ledger_decides_with_the_seed(tmp_path):
    """One ledger and one seed: the same weights to the bit. Another ledger: other answers, other weights."""
    folder = bundle(BINARY, tmp_path / "b")
    weights = {}
    for name, ledger in (("one", "a"), ("two", "a"), ("three", "b")):
        run(folder, tmp_path / name, ledger=tmp_path / ledger)
        weights[name] = (tmp_path / name / "bob" / "model.safetensors").read_bytes()
    assert weights["one"] == weights["two"] != weights["three"]


def test_rows_keep_their_draws_and_new_ones_get_new(tmp_path):
    folder, tables = bundle(BINARY, tmp_path / "b"), rows(200)
    first = run(folder, tmp_path / "part", part(tables, np.arange(0, 200, 2)))["protect_1.drawn"]
    before = kept_by_key(tmp_path / "ledger")
    whole = run(folder, tmp_path / "whole", tables)["protect_1.drawn"]
    after = kept_by_key(tmp_path / "ledger")
    assert len(before) == 100 and len(after) == 200 and before.items() <= after.items()
    assert Counter(after.values()) == Counter(whole.reshape(-1).astype(int).tolist())
    assert {after[key] for key in after.keys() - before.keys()} == {0, 1}
    again = run(folder, tmp_path / "again", part(tables, np.arange(0, 200, 2)))["protect_1.drawn"]
    assert np.array_equal(first, again), "whatever was added beside them"
    assert np.array_equal(run(folder, tmp_path / "more", tables)["protect_1.drawn"], whole)
    assert spent(tmp_path / "ledger") == (1, 1)


def kept_by_key(ledger: Path) -> dict[int, int]:
    (file,) = ledger.glob("bob-draws-*.safetensors")
    tensors = files.read_tensors(file)[0]
    return dict(zip(tensors["keys"].tolist(), tensors["0"].tolist(), strict=True))


def test_another_table_with_the_same_keys_has_draws_of_its_own(tmp_path):
    """Else equal answers would tell that two rows of different tables have one label."""
    folder, tables = bundle(BINARY, tmp_path / "b"), rows(64)
    first = run(folder, tmp_path / "one", tables)["protect_1.drawn"]
    rating = tables["bob"]["Rating"].to_numpy().copy()
    rating[7] = -rating[7]
    other = {**tables, "bob": tables["bob"].set_column(2, "Rating", pa.array(rating))}
    assert not np.array_equal(run(folder, tmp_path / "two", other)["protect_1.drawn"], first)
    assert spent(tmp_path / "ledger") == (2, 2)
    with pytest.raises(Failure, match="VFL0684"):
        rating[9] = -rating[9]
        run(
            folder,
            tmp_path / "three",
            {**tables, "bob": tables["bob"].set_column(2, "Rating", pa.array(rating))},
        )
    assert np.array_equal(run(folder, tmp_path / "four", tables)["protect_1.drawn"], first)


def test_another_epsilon_is_another_draw_and_adds_up(tmp_path):
    text = BINARY.replace("epsilon = 1)", "epsilon = 0.5)")
    first = run(bundle(BINARY, tmp_path / "b"), tmp_path / "one")["protect_1.drawn"]
    second = run(bundle(text, tmp_path / "c"), tmp_path / "two")["protect_1.drawn"]
    assert not np.array_equal(first, second) and spent(tmp_path / "ledger") == (1.5, 2)


def test_one_epsilon_has_one_draw_however_it_is_written(tmp_path):
    first = run(bundle(BINARY, tmp_path / "b"), tmp_path / "one")["protect_1.drawn"]
    for number, written in enumerate(("1.0", "2 / 2")):
        text = BINARY.replace("epsilon = 1)", f"epsilon = {written})") + f"# {number}\n"
        again = run(bundle(text, tmp_path / f"c{number}"), tmp_path / f"two{number}")["protect_1.drawn"]
        assert np.array_equal(first, again)
    assert spent(tmp_path / "ledger") == (1, 1)


def test_other_keys_are_other_rows(tmp_path):
    folder = bundle(BINARY, tmp_path / "b")
    first = run(folder, tmp_path / "one")["protect_1.drawn"]
    second = run(folder, tmp_path / "two", keyed(rows(64), np.arange(64) + 1000))["protect_1.drawn"]
    assert not np.array_equal(first, second) and spent(tmp_path / "ledger") == (1, 2)


@pytest.mark.parametrize("damage", ["cut", "open", "shape", "order"])
def test_draws_that_cannot_be_read_stop_all(damage, tmp_path):
    folder = bundle(BINARY, tmp_path / "b")
    run(folder, tmp_path / "one")
    (file,) = (tmp_path / "ledger").glob("bob-draws-*.safetensors")
    tensors, about = files.read_tensors(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    elif damage == "open":
        file.chmod(0o644)
    else:
        tensors["labels"] = tensors["labels"][1:] if damage == "shape" else tensors["labels"]
        tensors["keys"] = tensors["keys"][::-1] if damage == "order" else tensors["keys"]
        files.write_tensors(file, tensors, about)
    with pytest.raises(Failure, match="VFL0659" if damage == "open" else "VFL0685"):
        run(folder, tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_draws_that_are_lost_are_drawn_again_and_count_again(tmp_path):
    folder = bundle(BINARY, tmp_path / "b")
    run(folder, tmp_path / "one")
    (file,) = (tmp_path / "ledger").glob("bob-draws-*.safetensors")
    file.unlink()
    run(folder, tmp_path / "two")
    assert spent(tmp_path / "ledger") == (2, 2)


def test_between_machines_draws_are_kept_too(tmp_path):
    folder, tables = bundle(BINARY, tmp_path / "b"), rows(64)
    options = TrainOptions(threads=1, epochs=1)
    for name in ("one", "two"):
        results = train_together(folder, tables, tmp_path / name, options, ledger=tmp_path / "ledger")
        assert all(not isinstance(each, BaseException) for each in results.values()), results
    first, second = (drawn(tmp_path / name / "bob")["protect_1.drawn"] for name in ("one", "two"))
    assert np.array_equal(first, second) and spent(tmp_path / "ledger") == (1, 1)


# --- priors ---------------------------------------------------------------------------------------


def answers(prior: list[float], epsilon: float, label: int) -> dict[int, Fraction]:
    """The chance of each answer, from the draws of the graph and what the op makes of them, exactly."""
    top = likeliest(prior, epsilon)
    count, grown = len(top), Fraction(math.exp(epsilon))
    keep = grown / (grown + count - 1)
    type_ = TensorType((ROWS,), "int")
    node = Node("x", "answered", ("a", "b", "c"), {"top": top, "classes": len(prior)}, type_, frozenset())
    chances: Counter[int] = Counter()
    for shift, other in itertools.product(range(count), repeat=2):
        chance = (keep if shift == 0 else (1 - keep) / (count - 1)) * Fraction(1, count)
        (made,) = reference_answered(node, [np.array([x]) for x in (label, shift, other)], [type_] * 3)
        chances[int(made)] += chance  # type: ignore[assignment]
    return dict(chances)


def again(prior: list[float], epsilon: float, label: int) -> dict[int, float]:
    """RRWithPrior as the paper has it: every number of classes tried, then its table of chances."""
    grown, classes = math.exp(epsilon), list(range(len(prior)))
    ranked = sorted(classes, key=lambda c: prior[c], reverse=True)
    best = max(
        classes, key=lambda n: (grown / (grown + n) * math.fsum(prior[c] for c in ranked[: n + 1]), -n)
    )
    among = ranked[: best + 1]
    if label not in among:
        return dict.fromkeys(among, 1 / len(among))
    total = grown + len(among) - 1
    return {c: (grown if c == label else 1) / total for c in among}


priors = st.lists(st.integers(1, 60), min_size=3, max_size=6).map(lambda w: [x / sum(w) for x in w])


@settings(max_examples=60, deadline=None)
@given(prior=priors, epsilon=st.floats(0.05, 6))
def test_answers_are_as_likely_as_the_paper_says_and_no_two_labels_apart_by_more(prior, epsilon):
    if len(likeliest(prior, epsilon)) == 1:
        return
    told = [answers(prior, epsilon, label) for label in range(len(prior))]
    for label, chances in enumerate(told):
        assert sum(chances.values()) == 1
        expected = again(prior, epsilon, label)
        assert {c: float(p) for c, p in chances.items() if p} == pytest.approx(expected, rel=1e-9)
    bound = Fraction(math.exp(epsilon)) * (1 + Fraction(1, 10**12))
    for one, two in itertools.permutations(told, 2):
        assert all(one[answer] <= bound * two[answer] for answer in one)


def test_a_prior_that_is_even_or_an_epsilon_that_is_large_answers_among_all():
    assert len(likeliest([0.25] * 4, 0.5)) == 4
    assert len(likeliest([0.7, 0.2, 0.06, 0.04], 8)) == 4
    assert likeliest([0.04, 0.5, 0.06, 0.4], 1) == (1, 3)


PRIOR = "[0.5, 0.02, 0.48]"
MANY = CLASSES + f"protect bob.kind with label_dp(epsilon = 1, prior = {PRIOR})\n"


@pytest.mark.parametrize("engine", ["onnx", "keras"])
def test_with_a_prior_the_loss_is_that_of_the_answer_by_its_chance(engine, tmp_path):
    """Also of rows whose class is never answered; by the table of the paper."""
    options = {"backends": ("onnx", "keras") if engine == "keras" else ("onnx",), "precision": "float64"}
    true = Recorded(bundle(CLASSES, tmp_path / "plain", **options), engine)
    at = Recorded(bundle(MANY, tmp_path / "b", **options), engine)
    inputs = batch(32)
    labels = inputs["bob.kind"]
    assert set(labels) == {0, 1, 2}
    table = np.array(
        [[again([0.5, 0.02, 0.48], 1, label).get(answer, 0) for answer in range(3)] for label in range(3)]
    )
    (shares,) = (found.copy() for found in true.session.evaluate(inputs).predictions.values())
    chances, start = shares @ table, at.session.weights_by_place()
    assert at.session.evaluate(inputs).loss == true.session.evaluate(inputs).loss, "of the true labels"
    draws = at.session.guards()["bob"].drawn()
    shift, other = (draws[name] for name in sorted(draws, key=len))
    for s, o in itertools.product(range(2), repeat=2):
        for place, weights in start.items():
            at.session.engines[place].load(weights)
        shift[...], other[...] = s, o
        place_of = np.where(labels == 1, o, (labels == 2).astype(int))
        answers = np.array([0, 2])[(place_of + np.where(labels == 1, 0, s)) % 2]
        found = at.step(inputs).loss
        assert found == pytest.approx(-np.log(chances[np.arange(32), answers]).mean(), rel=1e-9)
    assert all(np.isfinite(value).all() for value in at.sent.values())


@pytest.mark.parametrize(
    ("prior", "code"),
    [
        ("[0.5, 0.5]", "VFL0348"),
        ("[0.9, 0.05, 0.05]", "VFL0348"),
        ("[0.5, 0.2, 0.2]", "VFL0205"),
        ("[1.5, -0.5, 0]", "VFL0205"),
        ("[]", "VFL0205"),
        ("0.5", "VFL0205"),
        ('["a", "b", "c"]', "VFL0205"),
    ],
)
def test_a_prior_that_does_not_fit_is_refused(prior, code):
    text = CLASSES + f"protect bob.kind with label_dp(epsilon = 1, prior = {prior})\n"
    assert [each.code for each in found(text)] == [code]


@pytest.mark.parametrize("label", [-1, 3, 7])
def test_a_class_that_is_none_is_refused_with_a_prior_too(label, tmp_path):
    at = Recorded(bundle(MANY, tmp_path / "b"))
    inputs = batch(32)
    inputs["bob.kind"][3] = label
    with pytest.raises(Failure, match=r"VFL0674.* the 3 classes from 0 to 2"):
        at.step(inputs)


def test_the_manifest_says_the_prior(tmp_path):
    page = (bundle(MANY, tmp_path / "b") / "manifest.md").read_text()
    assert "label_dp(epsilon = 1, prior = [0.5, 0.02, 0.48])" in page and "public prior" in page
