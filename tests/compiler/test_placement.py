"""Where a value is computed when the spec leaves it open, and what then crosses: every term of the cost."""

from __future__ import annotations

from typing import Any

import pytest
from granting import granted

from vflc.diagnostics import DiagnosticCollector, Refused, SourceText
from vflc.driver import check_source
from vflc.ir.graph import Graph
from vflc.passes import place as placing
from vflc.passes.cut import Cut
from vflc.passes.differentiate import Differentiate
from vflc.passes.levels import levels
from vflc.passes.lower import lower
from vflc.passes.modes import Modes
from vflc.passes.optimize import Optimize
from vflc.passes.place import Placement, trainable_below
from vflc.passes.prune import Prune
from vflc.passes.raw import raw_values
from vflc.passes.schedule import Scheduling
from vflc.passes.simplify import Simplify
from vflc.syntax.parser import parse

PARTIES = """
party alice {
  key ID
  feature x: float
  feature c: int -> index(50)
}
party bob {
  key ID
  feature z: float
}
party carol {
  key ID
  label y: float
}
"""
PASSES = (
    Prune(), Placement(unsplit=False), Modes(), Differentiate(), Optimize(), Simplify(), Cut(), Scheduling(),
)  # fmt: skip


def model(body: str, parties: str = PARTIES, passes: int = len(PASSES)) -> Any:
    collector = DiagnosticCollector()
    made = lower(parse(SourceText("x.vfl", parties + body), collector), "x", None, collector)
    collector.refuse_errors()
    assert made is not None
    for step in PASSES[:passes]:
        made = step(made, collector)
        collector.refuse_errors()
    return made


def crossing(made: Any, phase: str = "forward") -> dict[str, tuple[str, str]]:
    return {edge.id: (edge.source, edge.target) for edge in made.edges if edge.phase == phase}


def joined(left: str, right: str, after: str = "") -> Any:
    """Values of alice and of bob that meet where fewer bytes cross: what they lead to is placed at carol."""
    return model(
        f"l = {left}\nr = {right}\nh = mlp(concat(l, r), [4])\nlogit = dense(h, 1)\n"
        f"fuse at carol {{ out = logit + 0.0 }}\npredict p = out\nobjective mse(out, carol.y)\n{after}"
    )


def test_bytes_of_gradients_count() -> None:
    """Six numbers with their gradients are more than eight without, and fewer than thirteen."""
    for frozen, place in ((8, "alice"), (13, "bob")):
        made = joined("dense(alice.x, 6)", f"stop_gradient(dense(bob.z, {frozen}))")
        assert made.graph["h"].place == place
    assert crossing(made, "backward").keys() == {"l.gradient", "logit.gradient"}


def test_without_gradients_the_fewest_numbers_cross() -> None:
    for width, place in ((6, "alice"), (10, "bob")):
        made = joined(f"dense(alice.x, {width})", "dense(bob.z, 8)")
        assert made.graph["h"].place == ("bob" if place == "alice" else "alice")


def test_a_value_crosses_once_however_many_read_it() -> None:
    """Three readers of alice's ten numbers: ten cross, not thirty, which would be more than bob's twelve."""
    made = model("""
l = dense(alice.x, 10)
r1 = dense(bob.z, 4)
r2 = dense(bob.z, 4)
r3 = dense(bob.z, 4)
h1 = mlp(concat(l, r1), [2])
h2 = mlp(concat(l, r2), [2])
h3 = mlp(concat(l, r3), [2])
logit = dense(mlp(h1 + h2 + h3, [4]), 1)
fuse at carol { out = logit + 0.0 }
predict p = out
objective mse(out, carol.y)
""")
    assert {made.graph[name].place for name in ("h1", "h2", "h3", "logit")} == {"bob"}
    assert crossing(made) == {"l": ("alice", "bob"), "logit": ("bob", "carol")}


@pytest.mark.parametrize("wide", [1, 400])
def test_what_crosses_elsewhere_has_no_part_in_it(wide: int) -> None:
    """Three values meet where the widest is, whatever else alice sends carol."""
    made = model(
        f"""
l = dense(alice.x, 4)
r = dense(bob.z, 8)
s = dense(carol.w, 5)
logit = dense(mlp(concat(l, r, s), [4]), 1)
u = tanh(dense(alice.x, {wide}))
v = dense(u, 1) at carol
fuse at carol {{ out = logit + 0.0 }}
predict p = out
objective mse(out, carol.y)
objective mse(v, carol.y)
""",
        PARTIES.replace("label y", "feature w: float\n  label y"),
    )
    assert [e.node for e in made.edges if e.phase == "forward" and e.target == "bob"] == ["l", "s"]
    assert made.graph["logit"].place == "bob"


THREE = """
l = dense(alice.x, 2)
r = dense(bob.z, 40)
h = mlp(concat(l, r), [4])
logit = dense(h, 1)
predict p = logit
objective mse(logit, carol.y)
"""


def test_what_nobody_placed_meets_at_the_owner_of_the_labels() -> None:
    """At bob, two numbers and one would cross instead of 42: and bob would hold the end of carol's model."""
    made = model(THREE)
    assert {made.graph[name].place for name in ("h", "logit")} == {"carol"}
    assert crossing(made) == {"l": ("alice", "carol"), "r": ("bob", "carol")}


def test_labels_of_several_owners_leave_it_to_the_bytes() -> None:
    parties = PARTIES + "party dave {\n  key ID\n  label v: float\n}\n"
    made = model(THREE + "objective mse(logit, dave.v)\n", parties)
    assert made.graph["h"].place == "bob"


def test_what_leads_to_a_placed_value_or_comes_from_one_is_left_to_the_bytes() -> None:
    before = model(THREE.replace("logit = dense(h, 1)", "logit = dense(h, 1) at carol"))
    assert before.graph["h.concat"].place == "bob"
    dave = "party dave {\n  key ID\n  feature u: float\n}\n"
    after = model(
        THREE.replace("r =", "q = dense(bob.z, 2)\nr = dense(q, 40) at dave\nunread ="), PARTIES + dave
    )
    assert after.graph["h"].place == "dave"


def test_what_crosses_once_a_step_counts_by_its_share_of_a_batch() -> None:
    """A weight of 40 numbers is read at both: a batch of 128 rows makes it cheaper than one number a row."""
    text = """
w = weight(40)
l = dense(alice.x, 1) * sum(w)
r = dense(bob.z, 1)
h = mlp(concat(l, r * sum(square(w))), [4])
logit = dense(h, 1)
fuse at carol { out = logit + 0.0 }
predict p = out
objective mse(out, carol.y)
"""
    made = model(text)
    sent = {edge.node for edge in made.edges if edge.phase == "forward"}
    assert len([name for name in sent if made.graph[name].type.batched]) == 2


def test_the_labels_owner_reads_the_prediction() -> None:
    """It measures it, so that it is computed there, of the logit that crosses anyway."""
    made = model(
        """
l = dense(alice.x, 4)
r = dense(bob.z, 4)
logit = dense(mlp(concat(l, r), [2]), 1) at alice
predict y = sigmoid(logit)
objective bce(logit, carol.y)
""",
        PARTIES.replace("label y: float", "column R: int\n  label y = R > 3"),
    )
    assert [edge.node for edge in made.edges if edge.target == "carol"] == ["logit"]
    (prediction,) = made.predictions
    assert made.graph[prediction.node].place == "carol"


def test_a_prediction_is_made_where_it_is_measured_though_its_input_is_elsewhere() -> None:
    """carol gets the logit, for the loss; a prediction made at bob would have to reach her, too."""
    made = model("""
h = mlp(concat(dense(alice.x, 4), dense(bob.z, 4)), [2])
logit = dense(h, 1) at bob
predict y = sigmoid(logit)
objective bce(logit, carol.y)
""", PARTIES.replace("label y: float", "column R: int\n  label y = R > 3"))  # fmt: skip
    assert made.graph[made.predictions[0].node].place == "carol"
    assert [edge.node for edge in made.edges if edge.target == "carol"] == ["logit"]


def test_raw_values_are_never_sent_to_save_bytes() -> None:
    """alice's one number is cheaper to send than bob's forty; it is raw, so bob's are sent."""
    made = model("""
r = dense(bob.z, 40)
h = mlp(concat(alice.x, r), [4])
logit = dense(h, 1)
predict p = logit
objective mse(logit, carol.y)
""")
    assert crossing(made)["r"] == ("bob", "alice")


def test_too_much_that_is_left_open_is_refused_where_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "MOST_FREE", 1)
    with pytest.raises(Refused) as refused:
        model(
            "a = dense(alice.x1, 2)\nb = dense(bob.z, 2)\nd = dense(dave.u, 2)\nfirst = a + b\n"
            "logit = dense(first * d, 1)\nfuse at carol { out = logit + 0.0 }\npredict p = out\n"
            "objective mse(out, carol.y)\n",
            MANY,
        )
    (found,) = refused.value.diagnostics
    assert found.code == "VFL0206" and found.span is not None and found.span.text == "a + b"
    assert found.message == "more than 1 values may be computed at alice, bob, carol or dave"


def test_what_has_one_place_around_it_is_not_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "MOST_FREE", 0)
    made = model(
        "a = dense(alice.x1, 2)\nc = dense(bob.z, 2)\nb = dense(c, 2) at alice\n"
        "first = a * b\nthen = tanh(first)\n"
        "fuse at alice { logit = dense(then, 1) }\npredict w = logit\nobjective mse(logit, alice.w)\n",
        MANY.replace("feature c:", "label w: float\n  feature c:"),
    )
    assert {made.graph[name].place for name in ("b", "first", "then", "logit")} == {"alice"}


MANY = (
    PARTIES.replace("feature x: float", "feature x{1..6}: float")
    + """
party dave {
  key ID
  feature u: float
}
"""
)


@pytest.mark.parametrize(
    ("read", "said", "help"),
    [
        (
            "alice.x1",
            "the feature alice.x1 is read at carol, which may not see it",
            "embed or encode it at alice",
        ),
        (
            "alice.x{1..2}",
            "2 features are read at carol, which may not see them: alice.x1, alice.x2",
            "compute with them at alice: bind h = dense(concat(alice.x1, alice.x2), 8), and use h here",
        ),
        (
            "alice.x{1..4}",
            "4 features are read at carol, which may not see them: alice.x1, alice.x2, alice.x3, alice.x4",
            "bind h = dense(concat(alice.x1, alice.x2, …), 8)",
        ),
        (
            "alice.x{1..6}",
            "alice.x1, alice.x2, alice.x3, alice.x4 and 2 more",
            "dense(concat(alice.x1, alice.x2, …)",
        ),
        (
            "alice.x{1..2}, bob.z",
            "3 features are read at carol, which may not see them: alice.x1, alice.x2, bob.z",
            "h1 = dense(concat(alice.x1, alice.x2), 8), h2 = dense(concat(bob.z), 8), "
            "and compute here with h1 + h2",
        ),
        (
            "alice.x1, bob.z, dave.u",
            "3 features are read at carol, which may not see them: alice.x1, bob.z, dave.u",
            "h1 = dense(concat(alice.x1), 8), h2 = dense(concat(bob.z), 8), …, "
            "and compute here with h1 + h2 + …",
        ),
    ],
)
def test_features_that_may_not_be_read_here_are_one_finding(read: str, said: str, help: str) -> None:
    body = f"fuse at carol {{ logit = dense(concat({read}), 1) }}\npredict p = logit\n"
    with pytest.raises(Refused) as refused:
        model(body + "objective mse(logit, carol.y)\n", MANY)
    (found,) = refused.value.diagnostics
    assert found.code == "VFL0302" and found.message.endswith(said)
    assert found.help is not None and help in found.help and found.help.count("…") == help.count("…")
    assert [label.text.split(".")[0] for label in found.labels] == list(
        dict.fromkeys(each.split(".")[0] for each in read.split(", "))
    )


@pytest.mark.parametrize("other", ["bob.z", "dave.u"])
def test_a_placed_layer_over_several_parties_may_be_left_to_the_compiler(other: str) -> None:
    spec = f"logit = dense(concat(alice.x1, {other}), 1) at bob\npredict p = logit\n"
    spec += "objective mse(logit, bob.w)\n"
    parties = MANY.replace("feature z: float", "feature z: float\n  label w: float")
    with pytest.raises(Refused) as refused:
        model(spec, parties)
    (found,) = refused.value.diagnostics
    assert found.code == "VFL0302" and found.help is not None and found.help.startswith("leave its place out")
    examined = check_source(SourceText("x.vfl", granted(parties + spec.replace(" at bob", ""))))
    assert not [each for each in examined if each.level == "error"]


def test_what_one_party_has_is_not_told_to_have_no_place() -> None:
    """Without a place, all of the model would be computed at alice, who has no label."""
    spec = "logit = dense(alice.x1, 1) at carol\npredict p = logit\nobjective mse(logit, carol.y)\n"
    with pytest.raises(Refused) as refused:
        model(spec, MANY)
    (found,) = refused.value.diagnostics
    assert found.help is not None and found.help.startswith("embed or encode it at alice")


def test_weights_live_where_they_are_read() -> None:
    made = joined("dense(alice.x, 6)", "dense(bob.z, 3)")
    for node in made.graph:
        for name in node.inputs:
            if made.graph[name].op == "weight" and node.phase == "forward":
                assert made.graph[name].place == node.place
    assert crossing(made).keys() == {"r", "logit"}


def test_a_gradient_of_two_readers_elsewhere_is_summed_before_it_crosses() -> None:
    made = model("""
l = dense(alice.x, 6)
fuse at bob {
  h = dense(tanh(l), 4) + dense(sigmoid(l), 4)
  logit = dense(mlp(h, [4]) + dense(bob.z, 4), 1)
}
fuse at carol { out = logit + 0.0 }
predict p = out
objective mse(out, carol.y)
""")
    assert crossing(made, "backward") == {
        "l.gradient": ("bob", "alice"), "logit.gradient": ("carol", "bob"),
    }  # fmt: skip
    (edge,) = [edge for edge in made.edges if edge.id == "l.gradient"]
    assert edge.gradient_of == "l" and edge.programs == ("train",)
    assert made.graph["l.gradient"].type.sizes == made.graph["l"].type.sizes


def test_a_value_of_two_readers_elsewhere_has_an_edge_to_each() -> None:
    made = model("""
l = dense(alice.x, 6)
fuse at bob { b = mlp(concat(l, dense(bob.z, 2)), [2]) }
fuse at carol { out = dense(l, 1) + dense(b, 1) }
predict p = out
objective mse(out, carol.y)
""")
    assert crossing(made) == {
        "l->bob": ("alice", "bob"), "l->carol": ("alice", "carol"), "b": ("bob", "carol"),
    }  # fmt: skip
    gradients = [edge for edge in made.edges if edge.phase == "backward"]
    assert sorted((e.source, e.target, e.gradient_of) for e in gradients) == [
        ("bob", "alice", "l"), ("carol", "alice", "l"), ("carol", "bob", "b"),
    ]  # fmt: skip


def test_levels_count_crossings() -> None:
    made = model("""
l = dense(alice.x, 6)
fuse at bob { b = mlp(concat(l, dense(bob.z, 2)), [2]) }
fuse at carol { out = dense(b, 1) }
predict p = out
objective mse(out, carol.y)
""")
    depth = levels(made.graph)
    assert (depth["l"], depth["b"], depth["out"]) == (0, 1, 2)
    assert depth["b.gradient"] == 2 and depth["l.gradient"] == 3
    assert max(depth.values()) == 4  # alice's own gradients, after three crossings and one more


def test_messages_travel_as_soon_as_they_can() -> None:
    """What is ready before anything crossed is not kept back for what is not."""
    made = model("""
a = dense(alice.x, 2)
fuse at bob { b = mlp(concat(a, dense(bob.z, 2)), [3]) }
fuse at alice { late = mlp(b, [2]) }
fuse at carol { out = dense(concat(a, late), 1) }
predict p = out
objective mse(out, carol.y)
""")
    messages = [(m.source, m.target, m.edges) for m in made.messages if m.phase == "forward"]
    assert ("alice", "carol", ("a->carol",)) in messages and ("alice", "carol", ("late",)) in messages


def test_every_stage_has_what_it_reads_and_keeps_what_is_read_later() -> None:
    made = model("""
l = dense(tanh(dense(alice.x, 5)), 6)
fuse at bob {
  r = mlp(dense(bob.z, 4), [4], activation = tanh)
  b = mlp(concat(l, r), [2])
}
fuse at alice { back = mlp(concat(b, l), [3]) }
fuse at carol { out = dense(back, 1) }
predict p = out
objective mse(out, carol.y)
""")
    for schedule in made.schedules:
        for program, steps in schedule.programs.items():
            graph = made.graph_of(program)
            stages = {stage.name: stage for stage in schedule.stages[program]}
            messages = {message.id: message for message in made.messages}
            nodes = {edge.id: edge.node for edge in made.edges}
            have = {n.id for n in graph if n.op in ("feature", "label", "weight", "constant")}
            read: set[str] = set()
            for step in steps:
                if step.do == "receive":
                    have |= {nodes[edge] for edge in messages[step.what].edges}
                elif step.do == "run":
                    stage = stages[step.what]
                    assert set(stage.inputs) <= have, (schedule.place, program, stage.name)
                    inside = set(stage.nodes)
                    assert not inside & have, "nothing is computed twice"
                    for name in stage.nodes:
                        assert set(graph[name].inputs) <= have | inside
                    have |= set(stage.outputs)
                    read |= set(stage.inputs)
                elif step.do == "send":
                    assert {nodes[edge] for edge in messages[step.what].edges} <= have
            roots = {name for name in made.roots(program) if graph[name].place == schedule.place}
            assert roots <= have
            sent = {e.node for e in made.edges if e.source == schedule.place}
            kept = {name for stage in stages.values() for name in stage.outputs}
            assert kept <= read | sent | roots, "nothing is kept that nobody reads"


def test_what_only_backward_needs_is_made_there() -> None:
    made = model("""
l = mlp(alice.x, [5], activation = tanh)
fuse at carol { out = dense(mlp(l, [4]), 1) }
predict p = out
objective mse(out, carol.y)
""")
    (alice,) = [s for s in made.schedules if s.place == "alice"]
    forward, backward = alice.stages["train"]
    assert (forward.name, backward.name) == ("forward", "backward")
    assert all(made.graph[name].phase == "forward" for name in forward.nodes)
    assert all(made.graph[name].phase == "backward" for name in backward.nodes)
    assert [stage.name for stage in alice.stages["predict"]] == ["predict"]


def test_dense_gradients_of_one_place_and_rule_are_one_update() -> None:
    made = model("""
l = mlp(concat(alice.x, flatten(embed([alice.c], dim = 2))), [5, 5])
fuse at carol { out = dense(mlp(l, [4]), 1) }
predict p = out
objective mse(out, carol.y)
train { optimizer sgd(lr = 0.1) for out.*  optimizer adam(lr = 0.1) }
""")
    assert len({update.id for update in made.updates}) == len(made.updates)
    sizes = {
        u.id: sum(made.graph[a].type.row_size or 0 for a in u.arrays) for u in made.updates if u.gradient
    }
    for update in made.updates:
        assert {made.graph[name].place for name in update.arrays} == {update.place}
        if update.gradient:
            assert made.graph[update.gradient].type.row_size == sizes[update.id]
            assert made.graph[update.gradient].place == update.place
    rows = [update for update in made.updates if update.pairs]
    assert len(rows) == 1 and rows[0].gradient is None
    every = [name for update in made.updates for name in update.arrays]
    assert sorted(every) == sorted(n.id for n in made.graph if n.op == "weight" and n.attrs["trainable"])


def test_raw_and_trainable() -> None:
    made = model("""
l = dense(alice.x, 4)
s = stop_gradient(l)
t = dense(alice.x * 2, 4)
logit = dense(mlp(concat(s, t), [4]), 1)
fuse at carol { out = logit + 0.0 }
predict p = out
objective mse(out, carol.y)
""", passes=2)  # fmt: skip
    graph: Graph = made.graph
    raw, learning = raw_values(graph), trainable_below(graph)
    assert {"alice.x", "carol.y"} <= raw and not {"l", "s", "t", "logit"} & raw
    assert any(graph[name].op == "mul" for name in raw)
    assert {"l", "t", "logit"} <= learning and not {"s", "alice.x", "carol.y"} & learning
