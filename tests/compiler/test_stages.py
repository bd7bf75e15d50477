"""Passes state what they require and ensure: every example and many random specs keep it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from granting import granted
from hypothesis import given, settings
from msgspec.structs import replace
from random_specs import specs

from vflc.cli.commands import vflc
from vflc.diagnostics import DiagnosticCollector, Refused, SourceText
from vflc.driver import compile_spec
from vflc.ir.graph import Graph
from vflc.ir.stages import Lowered, Scheduled
from vflc.passes.lower import lower
from vflc.passes.pipeline import Pipeline, Watch, pipeline, population_pipeline
from vflc.passes.properties import CUT, GRAPH, SCHEDULED, Property
from vflc.syntax.parser import parse

SPECS = sorted((Path(__file__).parents[2] / "specs").rglob("*.vfl"))
TEXT = granted("""
party alice {
  key ID
  feature x: float
}
party bob {
  key ID
  feature c: int -> index(9)
  label y: float
}
a = mlp(alice.x, [4])
fuse at bob { logit = dense(a + embed(bob.c, dim = 4), 1) }
predict p = logit
objective mse(logit, bob.y)
""")


def lowered(text: str = TEXT) -> Lowered:
    collector = DiagnosticCollector()
    model = lower(parse(SourceText("x.vfl", text), collector), "x", None, collector)
    assert model is not None
    return model


def saboteur(name: str, spoil: Any, whole: Pipeline[Any] | None = None) -> Pipeline[Lowered]:
    """The passes, of which one spoils what it made."""

    class Spoiled:
        def __init__(self, own: Any) -> None:
            self.own, self.name, self.requires, self.ensures = own, own.name, own.requires, own.ensures

        def __call__(self, model: Any, collector: DiagnosticCollector) -> Any:
            return spoil(self.own(model, collector))

    whole = whole or pipeline()
    return Pipeline(tuple(Spoiled(p) if p.name == name else p for p in whole.passes), whole.result)


def changed(graph: Graph, node_id: str, **fields: Any) -> Graph:
    return Graph({n.id: replace(n, **fields) if n.id == node_id else n for n in graph})


def by_mode(graph: Graph) -> Graph:
    relu = next(node for node in graph if node.op == "relu")
    return changed(graph, relu.id, op="when_training", inputs=relu.inputs * 2)


def without_first(field: str) -> Any:
    return lambda model: replace(model, **{field: getattr(model, field)[1:]})


SPOILED = {
    "an input comes later": (
        "prune",
        lambda m: replace(m, graph=Graph(dict(reversed(m.graph.nodes.items())))),
        "after its inputs",
    ),
    "another type": (
        "prune",
        lambda m: replace(m, graph=changed(m.graph, "logit", type=m.graph["a"].type)),
        "the shape that its op gives",
    ),
    "a dead value": (
        "prune",
        lambda m: replace(m, graph=Graph(m.graph.nodes | {"z": replace(m.graph["logit"], id="z")})),
        "every value leads to",
    ),
    "a value without a place": (
        "place",
        lambda m: replace(m, graph=changed(m.graph, "logit", place=None)),
        "every value has a place",
    ),
    "a column at another party": (
        "place",
        lambda m: replace(m, graph=changed(m.graph, "alice.x", place="bob")),
        "data lies at its party",
    ),
    "a value by mode": (
        "modes",
        lambda m: replace(m, inference=by_mode(m.inference)),
        "depends on whether it is training",
    ),
    "a gradient twice": (
        "differentiate",
        lambda m: replace(m, gradients=(*m.gradients, m.gradients[0])),
        "the shapes of their weights",
    ),
    "a gradient of another shape": (
        "differentiate",
        lambda m: replace(m, gradients=(replace(m.gradients[0], dense="bob.y"), *m.gradients[1:])),
        "the shapes of their weights",
    ),
    "a weight without an update": ("optimize", without_first("updates"), "one update"),
    "an update elsewhere": (
        "simplify",
        lambda m: replace(m, updates=(replace(m.updates[0], place="alice"), *m.updates[1:])),
        "where it lies",
    ),
    "a crossing that is no edge": ("cut", lambda m: replace(m, edges=(), messages=()), "is an edge"),
    "an edge in no message": ("cut", without_first("messages"), "travels in one message"),
    "a place that does nothing": ("schedule", without_first("schedules"), "its two ends"),
    "a place that does not wait": (
        "schedule",
        lambda m: replace(m, schedules=tuple(map(without_receipts, m.schedules))),
        "finds what it reads",
    ),
}


def without_receipts(schedule: Any) -> Any:
    programs = {p: tuple(s for s in steps if s.do != "receive") for p, steps in schedule.programs.items()}
    return replace(schedule, programs=programs)


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_pass_that_breaks_its_promise_is_named(spoiled: str) -> None:
    name, spoil, promise = SPOILED[spoiled]
    with pytest.raises(Refused) as caught:
        saboteur(name, spoil).run(lowered(), DiagnosticCollector(), Watch(checked=True))
    (found,) = caught.value.diagnostics
    assert found.code == "VFL0501" and promise in found.message
    assert found.message.startswith(f"after `{name}`")


SPOILED_CLIENTS = {
    "a client graph that names what is not there": (
        "vectorise",
        lambda m: replace(m, client=replace(m.client, losses=("lost",))),
        "all that it names",
    ),
    "a gradient that no graph has": (
        "phases",
        lambda m: replace(
            m, client=replace(m.client, graphs=dict.fromkeys(m.client.graphs, m.client.forward))
        ),
        "has its gradients",
    ),
}


@pytest.mark.parametrize("spoiled", SPOILED_CLIENTS)
def test_a_pass_over_a_population_that_breaks_its_promise_is_named(spoiled: str) -> None:
    name, spoil, promise = SPOILED_CLIENTS[spoiled]
    path = next(path for path in SPECS if path.stem == "fedrecon")
    with pytest.raises(Refused) as caught:
        saboteur(name, spoil, population_pipeline()).run(
            lowered(path.read_text("utf-8")), DiagnosticCollector(), Watch(checked=True)
        )
    (found,) = caught.value.diagnostics
    assert found.code == "VFL0501" and promise in found.message
    assert found.message.startswith(f"after `{name}`")


def test_a_pass_that_does_not_get_what_it_requires_is_named() -> None:
    """Cut needs updates where their weights lie; a pass between, which ensures nothing, moves one."""

    class Mover:
        name, requires, ensures = "mover", (), ()

        def __call__(self, model: Any, collector: DiagnosticCollector) -> Any:
            return replace(model, updates=model.updates[1:])

    passes = pipeline().passes
    at = next(i for i, step in enumerate(passes) if step.name == "cut")
    spoiled = Pipeline((*passes[:at], Mover(), *passes[at:]), Scheduled)
    with pytest.raises(Refused, match="before `cut`"):
        spoiled.run(lowered(), DiagnosticCollector(), Watch(checked=True))


@pytest.mark.parametrize("passes", [pipeline(), pipeline(unsplit=True, fuse=False), population_pipeline()])
def test_what_a_pass_requires_an_earlier_one_ensures(passes: Pipeline[Any]) -> None:
    ensured: set[Property] = set(GRAPH)
    for step in passes.passes:
        assert set(step.requires) <= ensured, step.name
        assert step.ensures, step.name
        ensured |= set(step.ensures)
    assert passes.result is not Scheduled or {CUT, SCHEDULED} <= ensured


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_examples_keep_every_promise(path: Path) -> None:
    compile_spec(path, watch=Watch(checked=True))


@settings(max_examples=6, deadline=None)
@given(specs())
def test_random_specs_keep_every_promise(text: str) -> None:
    pipeline().run(lowered(granted(text)), DiagnosticCollector(), Watch(checked=True))


def dump(spec: str, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(vflc, ["compile", spec, *options])
    return result.exit_code, result.output


def test_the_page_shows_what_is_printed() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "compiler.md").read_text(encoding="utf-8")
    command, *lines = page.split("```text\n$ vflc ")[1].split("\n```")[0].splitlines()
    arguments = command.split()
    printed = dump(str(root / arguments[1]), *arguments[2:])[1].splitlines()
    wanted = [line for line in lines if line != "…"]
    assert [line for line in dict.fromkeys(printed) if line in wanted] == wanted


def test_the_graph_after_a_pass_is_printed(tmp_path: Path) -> None:
    (tmp_path / "x.vfl").write_text(TEXT)
    spec = str(tmp_path / "x.vfl")
    code, before = dump(spec, "--dump-after", "prune")
    assert code == 0 and "alice.x @alice = feature" in before and "[edges]" not in before
    code, after = dump(spec, "--dump-after", "cut", "--check-passes")
    assert code == 0 and "[edges]\na: alice -> bob forward in train, evaluate, predict" in after
    assert "[schedules]" in dump(spec, "--dump-after", "schedule")[1]
    code, wrong = dump(spec, "--dump-after", "plece")
    assert code == 2 and "prune, push-down, place" in wrong
    assert dump(spec)[0] == 2 and not list(tmp_path.glob("*/"))
