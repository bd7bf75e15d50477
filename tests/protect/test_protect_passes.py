"""The passes on protections one by one: what they make of a graph, in numpy, and every sentence they say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from granting import granted
from protecting import SUM
from test_protect_graphs import builder, codes, evaluated, node, protection
from test_protect_instead import HUB
from test_protect_rows import type_of
from test_protect_weights import HEAD, TAIL
from vflc_common.words import PROGRAMS

from vflc.diagnostics import Diagnostic, DiagnosticCollector, SourceText
from vflc.driver import check_source, compile_source
from vflc.ir.graph import Node
from vflc.ir.release import Guard
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops.mechanisms import MECHANISMS
from vflc.ops.protection import Draw
from vflc.passes.protect.gradients import _check_budget
from vflc.passes.protect.joint import GuardedValues, called, covers_rows, draw_node, warn_of_nothing_saved
from vflc.passes.protect.values import unknown_edge


def model_of(text: str) -> Any:
    return compile_source(SourceText("m.vfl", granted(text))).model


def told(text: str) -> Diagnostic:
    """The one mistake in a spec."""
    (found,) = [each for each in check_source(SourceText("m.vfl", granted(text))) if each.level == "error"]
    return found


# --- values of one place ------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "gaussian": {"clip": 1.0, "noise": 0.5, "epsilon": None, "passes": None},
    "max_norm": {}, "iso": {"scale": 1.5}, "quantize": {"bits": 4, "per": "row"}, "top_k": {"k": 2},
}  # fmt: skip


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_mechanism_sees_the_joint_row_or_each_value(name: str, several: bool) -> None:
    """What comes of values side by side is cut apart again; what sees each by itself has draws for each."""
    pair = TensorType((ROWS, Axis("f", 2), Axis(None, 3)))
    b, given = builder(**{"a": type_of(2), "c": pair} if several else {"c": pair})
    mechanism, values = MECHANISMS[name], GuardedValues(b, "g", [], [])
    made = values.apply(given, mechanism, protection(name, **OPTIONS[name]))
    assert [m.type for m in made] == [n.type for n in given]
    draws = [n for n in b.graph if n.op == "drawn"]
    draw = np.random.default_rng(0)
    feeds = {n.id: draw.normal(size=[4 if s is None else s for s in n.type.sizes]) for n in (*given, *draws)}
    found = evaluated(b, feeds)
    groups = [given] if mechanism.joint else [[each] for each in given]
    assert len(draws) == len(groups) and len(values.keeps) == (
        len(groups) if name in ("quantize", "top_k") else 0
    )
    at = 0
    for group, drawn in zip(groups, draws, strict=True):
        rows = np.concatenate([feeds[n.id].reshape(4, -1) for n in group], axis=1)
        alone, (row,) = builder(row=type_of(rows.shape[1]))
        fed: list[Node] = []

        def draw_here(what: Draw, width: int, alone: Any = alone, row: Node = row, fed: Any = fed) -> Node:
            fed.append(draw_node(alone, "g", what, row, width))
            return fed[-1]

        assert mechanism.apply is not None
        applied = mechanism.apply(alone, row, OPTIONS[name], draw_here)
        wanted = evaluated(alone, {"row": rows, fed[0].id: feeds[drawn.id]})
        result = np.concatenate([found[m.id].reshape(4, -1) for m in made[at : at + len(group)]], axis=1)
        np.testing.assert_allclose(result, wanted[applied.training.id])
        if applied.kept is not None:
            fed_id, kept_id = values.keeps[at]
            assert fed_id == drawn.id
            np.testing.assert_allclose(found[kept_id], wanted[applied.kept.id])
        at += len(group)
    used = {n.op for n in b.graph}
    assert {"concat", "slice"} <= used if several and mechanism.joint else "concat" not in used


def test_what_a_run_feeds() -> None:
    b, (row,) = builder(row=type_of(3))
    ids = draw_node(b, "g", Draw("shift", keep=0.75, classes=4), row, None)
    assert ids.type == TensorType((ROWS,), "int")
    assert ids.attrs == {
        "kind": "shift", "scale": 1.0, "keep": 0.75, "classes": 4, "guard": "g", "width": None,
        "dtype": "int",
    }  # fmt: skip
    numbers = draw_node(b, "g", Draw("normal", None), row, 2)
    assert numbers.type.sizes == (None, 2) and numbers.attrs["scale"] is None and "once" not in numbers.attrs
    once = draw_node(b, "g", Draw("normal"), row, 2, once=True)
    assert once.type.sizes == (2,) and once.attrs["once"] is True and not once.type.batched
    with b.within(place="p", phase="backward"):
        same = called(b, row, "other")
    assert (same.id, same.op, same.inputs, same.place, same.phase) == (
        "other",
        "rename",
        ("row",),
        "p",
        "backward",
    )
    assert same.type == row.type and same.attrs == {"names": ("batch", None)}


def test_sentences_on_rows() -> None:
    for type_, says in (
        (TensorType((ROWS, Axis(None, None))), "has a number of values that depends on the data"),
        (TensorType((Axis(None, 2),)), "does not belong to a row"),
    ):
        collector = DiagnosticCollector()
        assert not covers_rows([node("a", "x", type=type_)], protection(), collector)
        (found,) = collector.diagnostics
        assert found.message == f"`gaussian` protects rows of numbers, but `a` {type_} {says}" and found.help
    collector = DiagnosticCollector()
    one = TensorType((ROWS, Axis(None, 1)))
    warn_of_nothing_saved([node("a", "x", type=one)], protection("quantize", per="row", bits=4), collector)
    assert collector.diagnostics[0].help == "scale per batch: quantize(4, per = batch)"
    for count, shown in ((0, "none"), (1, "`e0`"), (9, ", ".join(f"`e{i}`" for i in range(8)))):
        collector = DiagnosticCollector()
        unknown_edge(protection(target="zzz"), [f"e{i}" for i in range(count)], collector)
        assert collector.diagnostics[0].help == f"the edges are {shown}"
    collector = DiagnosticCollector()
    unknown_edge(protection(target="edgy"), ["edge", "other"], collector)
    assert collector.diagnostics[0].help == "did you mean `edge`?" and codes(collector) == ["VFL0330"]


@pytest.mark.parametrize(
    ("options", "epochs", "code", "says"),
    [
        ({"epsilon": 1e-4, "delta": 1e-9}, 1, "VFL0337", "ε = 0.0001 over 1 epoch"),
        ({"epsilon": 1e-4, "delta": 1e-9}, 2, "VFL0337", "over 2 epochs"),
        ({"epsilon": 1e-4, "delta": 1e-9, "passes": 1}, 2, "VFL0337", "2 epochs and 1 pass after training"),
        ({"epsilon": 1e-4, "delta": 1e-9, "passes": 0}, 2, "VFL0337", "over 2 epochs"),
        ({"epsilon": 3.0, "noise": 5.0, "passes": 8}, 1, "VFL0312", "1 epoch and 8 passes after"),
        ({"epsilon": 3.0, "noise": 5.0}, 9, "VFL0312", "9 epochs with this noise spend ε = "),
    ],
)  # fmt: skip
def test_what_an_epsilon_does_not_allow(options: dict[str, Any], epochs: int, code: str, says: str) -> None:
    given = {"noise": None, "delta": 1e-6, "limit": 100.0} | options
    guard = Guard("p", "bob", "backward", ("a",), ("b",), "proven", "", options=given)
    model: Any = SimpleNamespace(guards=[guard], train=SimpleNamespace(epochs=epochs))
    collector = DiagnosticCollector()
    _check_budget(model, protection(**given), collector)
    (found,) = collector.diagnostics
    assert found.code == code and says in found.message and found.help
    if code == "VFL0337":
        assert found.message.startswith("no noise up to 100 times the clip") and found.message.endswith(says)


# --- gradients ----------------------------------------------------------------------------------------

TABLE = """
party alice {
  key ID
  feature city: int -> index(5)
}
party bob {
  key ID
  label liked: int
}
t = table(5, 3)
e = lookup(t, alice.city)
logit = dense(e, 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
protect gradients to alice with iso(scale = 2.0)
"""


def test_a_table_learns_from_what_crosses_in_a_gradients_stead() -> None:
    model = model_of(TABLE)
    (guard,) = model.guards
    assert (guard.place, guard.phase, guard.before) == ("bob", "backward", ("e.gradient",))
    assert guard.after == ("e.gradient.protected",) and guard.options == {"scale": 2.0} and not guard.reads
    pairs = {gradient for update in model.updates for _, gradient in update.pairs}
    assert {source for name in pairs for source in model.graph[name].inputs} == {"e.gradient.protected"}
    assert {n.place for n in model.graph if "e.gradient" in n.inputs} == {"bob"}
    made = model.graph["e.gradient.protected"]
    assert (made.op, made.inputs, made.place) == ("guarded", ("e.gradient",), "bob")
    assert made.attrs["guard"] == guard.id and made.sources == model.graph["e.gradient"].sources
    inner = guard.graph
    assert inner is not None and {n.op for n in inner if not n.inputs} <= {"feature", "drawn", "constant"}
    assert set(guard.before) | set(guard.after) <= set(inner.nodes)
    drawn = [n for n in inner if n.op == "drawn"]
    assert [n.attrs["guard"] for n in drawn] == [guard.id]
    draw = np.random.default_rng(0)
    rows, noise = draw.normal(size=(4, 3)), draw.normal(size=(4, 3))
    found = evaluated(SimpleNamespace(graph=inner), {"e.gradient": rows, drawn[0].id: noise})  # type: ignore
    largest = np.linalg.norm(rows, axis=1).max()
    np.testing.assert_allclose(found[guard.after[0]], rows + noise * largest * 2 / np.sqrt(3))


def test_gradients_are_protected_one_after_another() -> None:
    text = TABLE + "protect gradients to alice with quantize(bits = 4)\n"
    first, second = model_of(text).guards
    assert second.before == first.after and second.mechanism == "quantize"
    assert second.after[0].startswith("e.gradient.protected") and second.after != first.after
    assert (
        len(second.keeps) == 1 and not first.keeps and [g.private for g in (first, second)] == [True, False]
    )
    assert second.graph is not None and second.keeps[0][1] in second.graph
    by_name = model_of(TABLE.replace("gradients to alice", "e.gradient"))
    assert [(g.phase, g.mechanism, g.before) for g in by_name.guards] == [
        ("backward", "iso", ("e.gradient",))
    ]


def test_what_is_said_of_gradients() -> None:
    marvell = "protect gradients to alice with marvell(sum_kl = 1)"
    no_binary = TABLE.replace("iso(scale = 2.0)", "marvell(sum_kl = 1)").replace("bce(", "mse(")
    found = told(no_binary)
    assert found.code == "VFL0333" and "depend on `bob.liked`" in found.message and "at bob" in found.message
    passing = told(TABLE.replace("iso(scale = 2.0)", "gaussian(clip = 1, noise = 2, passes = 1)"))
    assert passing.code == "VFL0347" and passing.help == "remove `passes`"
    nobody = told(TABLE.replace("gradients to alice", "gradients to bob"))
    assert nobody.code == "VFL0334" and nobody.help == "gradients go to alice"
    labels = told(TABLE.replace("iso(scale = 2.0)", "label_dp(epsilon = 1)"))
    assert labels.code == "VFL0333"
    sums = told(TABLE.replace("iso(scale = 2.0)", "secure_sum"))
    assert sums.message == "`secure_sum` is for activations; these are gradients"
    nothing = TABLE.replace("dense(e, 1) at bob", "dense(stop_gradient(e), 1) at bob")
    assert told(nothing).help == "no gradient crosses at all"
    model = model_of(TABLE.replace("protect gradients to alice with iso(scale = 2.0)", marvell))
    (guard,) = model.guards
    assert guard.reads == "bob.liked" and guard.graph is None
    assert model.graph[guard.after[0]].inputs == ("e.gradient", "bob.liked")


# --- sums ---------------------------------------------------------------------------------------------


def test_guards_of_a_masked_sum() -> None:
    model = model_of(SUM + "protect a with secure_sum(range = 64)\n")
    found = {guard.place: guard for guard in model.guards}
    assert set(found) == {"alice", "carol"}
    for place, value, other in (("alice", "a", "carol"), ("carol", "c", "alice")):
        guard = found[place]
        assert guard.before == guard.after == (value,) and guard.programs == PROGRAMS and guard.masks
        assert guard.id == f"protect_1.{place}" and guard.options["range"] == 64
        assert guard.options["members"] == ["a", "c"] or guard.options["members"] == ["c", "a"]
        assert guard.promise.startswith(
            f"bob gets the sum with {other} and none of its terms; together with {other}, it has"
        )
    two = SUM.replace("a + b + c", "concat(a + b + c, d + e)").replace(
        "fuse at bob", "d = dense(alice.Age, 2)\ne = dense(carol.Income, 2)\nfuse at bob"
    )
    both = model_of(two + "protect a with secure_sum\nprotect d with secure_sum\n")
    assert [guard.id for guard in both.guards] == [
        "protect_1.alice", "protect_1.carol", "protect_2.alice", "protect_2.carol",
    ]  # fmt: skip
    record = two.replace("a = dense(alice.Age, 4)", "r = {a = dense(alice.Age, 4), d = dense(alice.Age, 2)}")
    record = (
        record.replace("d = dense(alice.Age, 2)\ne", "e")
        .replace("a + b + c", "r.a + b + c")
        .replace("d + e", "r.d + e")
    )
    once = model_of(record + "protect r with secure_sum\n")
    roots = {guard.options["sum"] for guard in once.guards}
    assert len(once.guards) == 4 and len(roots) == 2
    assert {guard.id for guard in once.guards} == {
        f"protect_1.{r}.{p}" for r in roots for p in ("alice", "carol")
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("tanh(a + b + c)", "concat(tanh(a + b + c), a)"),
            "`a` is not used in exactly one sum at one other place",
        ),
        (("c = dense(carol.Income, 4)", "c = dense(carol.Income, 1)"), "do not all have its shape"),
        (("tanh(a + b + c)", "tanh(a + b)"), "at bob no other party's value is added to `a`"),
    ],
)
def test_why_a_sum_is_not_masked(change: tuple[str, str], says: str) -> None:
    found = told(SUM.replace(*change) + "protect a with secure_sum\n")
    assert found.code == "VFL0335" and says in found.message and found.help


# --- activations --------------------------------------------------------------------------------------


def test_guards_of_an_activation() -> None:
    model = model_of(HUB)
    logit, score = model.guards
    assert (logit.place, logit.phase, logit.before, logit.after) == (
        "hub", "forward", ("logit",), ("logit.protected",),
    )  # fmt: skip
    assert logit.options == {
        "clip": 1.0, "epsilon": 8, "delta": 1e-6, "noise": None, "limit": 10_000.0, "passes": 3,
    }  # fmt: skip
    assert score.options == {"bits": 4, "per": "batch"} and len(score.keeps) == 1 and not logit.keeps
    assert [guard.id for guard in model.guards] == ["protect_1", "protect_2"], "of one place each"
    readers = {n.id for n in model.graph if "logit" in n.inputs}
    assert all(model.graph[name].place == "hub" for name in readers), "elsewhere what crosses is read"
    free = HUB.replace(", passes = 3", "")
    assert model_of(free).guards[0].options["passes"] == 2, "so many where nothing is said"
    training = model_of(free.replace("epsilon = 8)", "epsilon = 8) in training")).guards[0]
    assert training.options["passes"] is None and training.programs == PROGRAMS[:1]


def test_what_is_said_of_activations() -> None:
    inner = told(HUB + "protect own with top_k(k = 1)\n")
    assert inner.code == "VFL0331" and inner.help.startswith("what leaves is `h`")
    wrong = told(HUB + "protect h with max_norm\n")
    assert wrong.message == "`max_norm` is for gradients, but `h` is an activation"
    assert wrong.help == "as in: protect gradients to PARTY with max_norm"
    many = "\n".join(f"p{i} = dense(alice.Age, 2)" for i in range(9))
    used = "concat(" + ", ".join(f"p{i}" for i in range(9)) + ", h)"
    text = HUB.replace("h = dense(alice.Age, 3)", f"h = dense(alice.Age, 3)\n{many}").replace(
        "dense(h, 1)", f"dense({used}, 1)"
    )
    help = told(text + "protect own with top_k(k = 1)\n").help or ""
    assert help.count("`") == 16, "eight of them are named"


# --- weights ------------------------------------------------------------------------------------------


def weights(line: str, bottom: str = "h = dense(concat(alice.x, alice.y), 3)") -> str:
    return f"{HEAD}{bottom}{TAIL.replace('MORE', '')}protect weights {line}\n"


def test_what_is_said_of_weights() -> None:
    noise = "with dp_sgd(clip = 1, noise = 1)"
    unknown = told(weights(f"*.wide at alice {noise}"))
    assert unknown.code == "VFL0345" and unknown.message.startswith("`*.wide` matches no weight at alice")
    assert unknown.help == "the weights that are trained there are `h.dense.kernel`, `h.dense.bias`"
    spec = weights(f"at alice {noise}", "h = dense(concat(alice.x, alice.y), 2)")
    (none,) = [
        each
        for each in check_source(SourceText("m.vfl", granted(spec.replace("flatten(h)", "stop_gradient(h)"))))
        if each.code == "VFL0345"
    ]
    assert none.message.startswith("no weight is trained at alice") and none.help.startswith(
        "name another party"
    )
    twice = told(weights(f"at alice {noise}") + f"protect weights h.dense.bias at alice {noise}\n")
    assert twice.code == "VFL0336" and "`h.dense.bias` is already protected with `dp_sgd`" in twice.message
    met = told(weights(f"at alice {noise}", "h = batch_norm(dense(concat(alice.x, alice.y), 3))"))
    assert met.code == "VFL0346" and met.message.startswith(
        "`dp_sgd` cannot separate the rows in the gradient of `h."
    )
    assert met.help.endswith("protect weights NAME, … at alice with …")


def test_only_the_weights_that_are_named_are_guarded() -> None:
    noise = "with dp_sgd(clip = 0.5, epsilon = 8)"
    model = model_of(weights(f"*.kernel at alice {noise}"))
    (guard,) = model.guards
    assert guard.weights == ("h.dense.kernel",) and guard.after == ("h.dense.kernel.gradient.private",)
    learned = {g.weight: g.dense for g in model.gradients}
    assert learned["h.dense.kernel"] == guard.after[0] and "private" not in str(learned["h.dense.bias"])
    (drawn,) = [n for n in model.graph if n.op == "drawn"]
    assert drawn.attrs["scale"] is None and drawn.attrs["width"] == 6 and drawn.attrs["once"] is True
    both = model_of(weights(f"*.kernel at alice {noise}") + f"protect weights *.bias at alice {noise}\n")
    assert [g.weights for g in both.guards] == [("h.dense.kernel",), ("h.dense.bias",)]
    assert [len(g.before) for g in both.guards] == [1, 1]
