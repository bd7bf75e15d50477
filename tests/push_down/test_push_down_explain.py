"""What `vflc compile --explain` says of a model that is written as one table."""

from __future__ import annotations

from push_down.one_table import compiled, one_table

from vflc.cli.explained import explained
from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.ir.stages import Lowered
from vflc.passes.pipeline import Watch


def told(text: str, width: int = 80) -> str:
    before: list[Lowered] = []
    watch = Watch(lambda name, model: before.append(model) if name == "prune" else None)
    bundle = compile_source(SourceText("one.vfl", text), watch=watch)
    return explained(before[0], bundle.model.pushed, width)


def test_it_says_what_crosses_and_what_would() -> None:
    text = told(one_table("logit = LogisticRegression(FEATURES)"))
    assert "`logit.stack` is not joined: each party computes its part of what reads it" in text
    assert "logit = LogisticRegression(alice.features + bob.features)" in text
    assert "    logit.unsqueeze.alice  8  to bob" in text.splitlines()
    assert "saves 16 bytes" in text
    assert max(map(len, text.splitlines())) <= 80


def test_it_says_that_the_model_would_be_refused() -> None:
    model = "x = concat(alice.x0, alice.x1, bob.x0)\nlogit = dense(mlp(x, [8]), 1)"
    text = told(one_table(model, ids=0, numbers=2))
    assert "otherwise the model is refused" in text and "(VFL0302)" in text
    assert "    logit.mlp.0.linear.alice  64  to bob" in text.splitlines()


def test_it_says_what_more_is_sent_so_that_the_end_stays_with_the_labels() -> None:
    model = "x = concat(alice.x0, dense(embed(bob.c0, dim = 4), 4))\nlogit = dense(mlp(x, [8]), 1)"
    said = " ".join(told(one_table(model)).split())
    assert "sends 24 bytes more, so that the end of the model stays with the labels" in said


def test_it_says_what_is_left_as_written() -> None:
    model = "logit = dense(mlp(flatten(embed(FEATURES, dim = 2)), [64]), 1)"
    assert "left as written, as this sends no more: logit.stack" in told(one_table(model))
    placed = "a = dense(alice.x0, 2)\nfuse at bob { logit = dense(a, 1) + dense(bob.x0, 1) }"
    assert "nothing joins values of several parties without a place" in told(one_table(placed))


def test_what_it_counts_is_what_the_manifest_counts() -> None:
    text = one_table("logit = LogisticRegression(FEATURES)", ids=3)
    here, there = (compiled(text, push_down=push_down) for push_down in (True, False))
    bytes_of = [sum(edge["bytes_per_row"] for edge in each.manifest["edges"]) for each in (here, there)]
    assert f"saves {bytes_of[1] - bytes_of[0]} bytes" in told(text)
