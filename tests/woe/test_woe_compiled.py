"""What a spec with weights of evidence compiles to: what crosses, who learns what, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.data.batches import in_order
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.errors import Failure
from vflc_runtime.run import fitting, loading
from vflc_runtime.run.session import Session
from woeing import CARD, bad_of, bins_of, compiled, evidence, tables

from vflc.diagnostics import SourceText
from vflc.driver import check_source, compile_source


def manifest(text: str) -> dict[str, Any]:
    return compile_source(SourceText("card.vfl", text)).manifest


def learned(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    rows = manifest(text)["learned"]
    return {(row["receiver"], row["column"]): row["bound"] for row in rows}


def test_bins_cross_to_the_label_and_nothing_comes_back() -> None:
    found = manifest(CARD)
    assert [(e["id"], e["from"], e["to"], e["programs"]) for e in found["edges"]] == [
        (f"alice.{name}", "alice", "bob", ["train", "evaluate", "predict", "fit"])
        for name in ("Income", "City")
    ]
    assert [(each["feature"], each["at"]) for each in found["fitted"]] == [
        ("alice.Income", "bob"), ("alice.City", "bob"), ("bob.Age", "bob"),
    ]  # fmt: skip
    assert all(finding == [] for finding in (edge["findings"] for edge in found["edges"])), "as the spec asks"
    bounds = learned(CARD)
    assert {
        name: bounds["alice", name]["kind"] for name in ("Age", "Status", "Amount", "Until")
    } == dict.fromkeys(("Age", "Status", "Amount", "Until"), "nothing")
    assert bounds["bob", "Income"] == {"kind": "code", "bits": pytest.approx(np.log2(5))}
    assert bounds["bob", "City"] == {"kind": "code", "bits": 2.0}


def test_fitted_edges_of_bins_tell_all_of_their_column() -> None:
    text = CARD.replace("missing(-1) -> bucketize(0, 20, 40, 60)", "missing(-1) -> quantiles(5)")
    assert {d.code for d in check_source(SourceText("card.vfl", text))} == {"VFL0340"}
    assert learned(text.replace("Income at most 2.4 bits", "Income"))["bob", "Income"] == {"kind": "all"}


def test_what_is_computed_with_a_table_depends_on_every_label() -> None:
    """alice computes with the evidence of her own bins: she is told of labels."""
    text = CARD.replace("x = woe(", "low = woe([alice.Income], bob.bad) at alice\nx = woe(")
    text = text.replace("ones)) + ", "ones)) + dense(low, 1) + ")
    (refused,) = [d for d in check_source(SourceText("card.vfl", text)) if d.code == "VFL0340"]
    assert "alice may learn" in refused.message and "bad" in refused.message


def test_a_model_without_evidence_has_no_fourth_program() -> None:
    text = CARD.replace("woe(alice.features + bob.features, bob.bad)", "one_hot(bob.Age)")
    bundle = compile_source(SourceText("card.vfl", text))
    assert "fitted" not in bundle.manifest and b'"fit' not in bundle.files["bob/plan.json"].replace(
        b"fitted", b""
    )


def test_one_key_of_many_rows_sends_its_bin_once(tmp_path: Path) -> None:
    text = CARD.replace("party bob {\n  key ID", "party bob {\n  key ID\n  rows per key many")
    data = tables(300)
    keys = np.random.default_rng(0).integers(0, 300, 900)
    many = tables(900, seed=1)["bob"].set_column(0, "ID", [keys])
    bundle = open_bundle(compiled(text, tmp_path))
    loaded = loading.load_training(
        bundle, {"alice": data["alice"], "bob": many}, loading_settings(), None, lambda event: None
    )
    session = Session(bundle, threads=1)
    fitting.fit(session, fitting.batches(loaded, in_order(loaded.rows)), {})
    woe, _ = evidence(bins_of(data)["Income"][keys], bad_of({"bob": many}), 5)
    assert np.allclose(session.weights()["x.woe.Income"][:, 0], woe)
    assert session.sent()["alice.Income"] == 4 * len(np.unique(keys))


def loading_settings() -> dict[str, Any]:
    return {"seed": 0, "validation": 0.0, "fold": 0, "batch": 100, "shuffle": True}


@pytest.mark.parametrize("id", [5, -1, 2**31 - 1])
def test_what_is_no_bin_is_not_taken_in(id: int, tmp_path: Path) -> None:
    """A party that does not follow the protocol: its number is not taken for a row of the table."""
    session = Session(compiled(CARD, tmp_path), threads=1)
    data = Dataset.load(loading.encoders(session.bundle), tables(20))
    inputs = dict(data.batch(np.arange(20)))
    inputs["alice.Income"] = np.where(np.arange(20) == 7, id, inputs["alice.Income"]).astype(np.int32)
    for work in (session.fit, session.step, session.evaluate, session.predict):
        with pytest.raises(Failure) as refused:
            work(inputs)
        assert refused.value.code == "VFL0615" and "an id that is not from 0 to 4" in refused.value.message


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("missing(-1) -> bucketize(0, 20, 40, 60)", "missing(0) -> standardize"), "VFL0233"),
        (("alice.features + bob.features", "dense(one_hot(alice.City), 1)"), "VFL0233"),
        (("features, bob.bad)", "features, bob.Age)"), "VFL0234"),
        (("objective bce(logit, bob.bad)", "objective bce(logit, bob.bad) + l2(0.1, x.tables)"), "VFL0105"),
        (('bad = Status == "bad"', 'bad: string -> vocab("a", "b", "c")'), "VFL0234"),
        (("features, bob.bad)", "features, bob.bad, smoothing = 0)"), "VFL0205"),
        (("features, bob.bad)", "features, bob.bad, weight = one_hot(bob.Age))"), "VFL0203"),
        (("train {", "protect bob.bad with label_dp(epsilon = 4)\ntrain {"), "VFL0333"),
        (("train {", "protect alice.City with quantize(bits = 8)\ntrain {"), "VFL0333"),
        (("party alice {\n  key ID", "party alice {\n  key ID\n  missing party allowed"), "VFL0116"),
    ],
)  # fmt: skip
def test_mistakes(change: tuple[str, str], code: str) -> None:
    assert change[0] in CARD
    found = check_source(SourceText("card.vfl", CARD.replace(*change)))
    assert code in {diagnostic.code for diagnostic in found}


def test_users_of_a_population_have_no_evidence() -> None:
    text = """
population users {
  key UserID
  feature Item: int -> index(50)
  column  Rating: float
  label   liked = Rating > 3
}
party hub {}
global slope = weight(1) at hub
local  taste = weight(1) at users
z = woe(users.Item, users.liked) * slope + taste
predict liked = sigmoid(z)
objective bce(z, users.liked)
train reconstruct { rounds 2 cohort 5 batch 5 rebuild sgd(0.1) client sgd(0.5) server sgd(1.0) }
"""
    found = check_source(SourceText("users.vfl", text))
    assert [d.message for d in found if d.code == "VFL0502" and "`woe`" in d.message], found


def test_what_only_the_best_epoch_tells_is_said_with_how_not_to_tell_it() -> None:
    watched = CARD.replace("batch 200", "batch 200 validation 0.2")
    for text, told in (
        (watched, "is which epoch is the best, by `loss` of the rows for validation: with `best false` in"),
        (watched.replace("epochs 4", "epochs 4 patience 2"), "when training stops, by `loss` of the rows"),
    ):
        (found,) = check_source(SourceText("card.vfl", text))
        assert found.code == "VFL0340" and "`best false`" in str(found.help) and told in str(found.help)
    assert not check_source(
        SourceText("card.vfl", watched.replace("validation 0.2", "validation 0.2 best false"))
    )


def test_labels_that_are_drawn_do_not_go_with_evidence() -> None:
    text = CARD + "protect bob.bad with label_dp(epsilon = 2)\n"
    (found,) = (each for each in check_source(SourceText("card.vfl", text)) if each.code == "VFL0333")
    assert [text[label.span.start : label.span.end][:4] for label in found.labels] == ["woe("]
