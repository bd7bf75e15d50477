"""Which value a loss judges, and by which labels: on small graphs, with losses of any form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from vflc.diagnostics import SourceText as Text
from vflc.diagnostics import Span
from vflc.ir.build import Build, Initializer
from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.model import Loss
from vflc.ir.release import Guard
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import infer
from vflc.passes.evidence.scores import ScoreBesideLabels, scores

SPAN = Span(Text("spec.vfl", "x"), 0, 1)
NUMBER = TensorType((ROWS, Axis(None, 1)))
LIKED, STARS = SecretSource("bob", "liked", True), SecretSource("bob", "stars", True)


class Small:
    """A graph with a feature x, labels y and s, weights w and v, and a frozen one f."""

    def __init__(self) -> None:
        self.b = Build(Graph(), infer)
        for name, op, source in (
            ("x", "feature", SecretSource("alice", "x")), ("y", "label", LIKED), ("s", "label", STARS),
        ):  # fmt: skip
            self.b.graph.add(Node(name, op, (), {"name": source.name}, NUMBER, frozenset({source})))
        for name in ("w", "v", "f"):
            self.b.weight(name, [Axis(None, 1)], Initializer("zeros"), trainable=name != "f")

    def __getattr__(self, name: str) -> Node:
        return self.b.graph[name]

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        return self.b.op(op, *inputs, **attrs)

    def mean(self, value: Node) -> Node:
        return self.op("mean", value, axes=(0, 1), keep=False)

    def loss(self, value: Node, logit: Node | None = None) -> Loss:
        return Loss("liked", value.id, 1.0, "bce", logit.id if logit else None, None, SPAN)

    def scores(self, *losses: Loss, guards: tuple[Guard, ...] = ()) -> list[ScoreBesideLabels]:
        model: Any = SimpleNamespace(graph=self.b.graph, losses=losses, guards=guards)
        return scores(model)

    def judged(self, value: Node, logit: Node | None = None) -> list[str]:
        return [score.node for score in self.scores(self.loss(value, logit))]


def residual(g: Small, predicted: Node) -> Node:
    """Squared error, written by hand."""
    return g.mean(g.op("square", g.op("sub", predicted, g.y)))


def test_a_loss_of_the_library_judges_its_logit_where_that_learns() -> None:
    g = Small()
    score = g.op("mul", g.x, g.w)
    shown = g.op("exp", score)
    assert g.judged(residual(g, shown), shown) == [shown.id], "as it says"
    frozen = g.op("mul", g.x, g.f)
    assert g.judged(residual(g, frozen), frozen) == [], "of what does not learn there is no gradient"


def test_a_loss_written_by_hand_judges_what_all_of_it_goes_through() -> None:
    g = Small()
    score = g.op("mul", g.x, g.w)
    p = g.op("sigmoid", score)
    other = g.op("sub", g.b.constant(1.0), p)
    entropy = g.op("add", g.op("mul", g.y, g.op("log", p)), g.op("mul", g.s, g.op("log", other)))
    (found,) = g.scores(g.loss(g.mean(entropy)))
    assert found.node == score.id and found.labels == (LIKED, STARS) and not found.guarded


def test_two_values_that_meet_in_the_loss_alone_are_judged_each() -> None:
    g = Small()
    a, c = g.op("exp", g.op("mul", g.x, g.w)), g.op("exp", g.op("mul", g.x, g.v))
    chosen = g.op("add", g.op("mul", g.y, c), g.op("mul", g.s, a))
    assert g.judged(g.mean(chosen)) == [a.id, c.id], "in order of the graph"


def test_a_weight_beside_is_a_way_around_and_a_frozen_one_is_none() -> None:
    for beside, judged in (("v", ["add"]), ("f", ["mul"])):
        g = Small()
        score = g.op("mul", g.x, g.w)
        shown = g.op("add", score, g.op("mul", g.x, getattr(g, beside)))
        assert g.judged(residual(g, shown)) == judged


def test_a_way_around_is_found_behind_the_value_itself() -> None:
    """What both read, `mul`, is not all that the second is made of."""
    g = Small()
    score = g.op("mul", g.x, g.w)
    first, second = g.op("exp", score), g.op("add", g.op("mul", g.x, g.v), score)
    chosen = g.op("add", g.op("mul", g.y, first), g.op("mul", g.s, second))
    assert g.judged(g.mean(chosen)) == [first.id, second.id]


def test_the_value_stands_before_weights_and_sums_over_the_batch() -> None:
    g = Small()
    score = g.op("mul", g.x, g.w)
    once = g.op("mean", g.op("exp", score), axes=(0,), keep=False)
    assert g.judged(residual(g, g.op("sub", score, once))) == ["sub"], "a batch's mean goes around"
    alone = g.op("exp", once)
    assert g.judged(residual(g, alone)) == [score.id], "the last value that has rows"
    scaled = g.op("mul", g.x, once)
    assert g.judged(residual(g, scaled)) == [scaled.id], "below it nothing has rows"
    direct = g.mean(g.op("mul", g.y, g.v))
    assert g.judged(direct) == [], "a weight is no value of the model"


def test_losses_without_labels_judge_nothing() -> None:
    g = Small()
    score = g.op("mul", g.x, g.w)
    unlike, penalty = g.loss(residual(g, score), score), g.loss(g.mean(g.op("square", score)), score)
    found = g.scores(penalty, unlike, penalty)
    assert [(each.loss, each.labels) for each in found] == [(unlike, (LIKED,))]


def test_labels_of_one_loss_are_not_those_of_another() -> None:
    g = Small()
    score = g.op("mul", g.x, g.w)
    first, second = residual(g, score), g.mean(g.op("square", g.op("sub", score, g.s)))
    found = g.scores(g.loss(first, score), g.loss(second, score))
    assert [each.labels for each in found] == [(LIKED,), (STARS,)]


def guard(*after: str, privacy: Any = "proven") -> Guard:
    return Guard("noise", "bob", "forward", ("y",), after, privacy, "")


def test_a_label_is_guarded_where_no_way_leads_around_the_mechanism() -> None:
    g = Small()
    drawn = g.op("abs", g.y)
    score = g.op("mul", g.x, g.w)
    wrong = g.op("square", g.op("sub", score, drawn))
    noised, both = g.loss(g.mean(wrong), score), g.loss(g.mean(g.op("mul", wrong, g.y)), score)
    for loss, guards, guarded in (
        (noised, (guard("abs"),), True),
        (noised, (guard("other", "abs"),), True),
        (noised, (guard("other"), guard("abs", privacy="partial")), True),
        (noised, (guard("abs", privacy="none"),), False),
        (noised, (), False),
        (both, (guard("abs"),), False),
    ):
        (found,) = g.scores(loss, guards=guards)
        assert found.guarded is guarded
