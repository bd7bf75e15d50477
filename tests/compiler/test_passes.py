"""What single passes promise, on specs small enough to see through."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from granting import granted

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source
from vflc.emit.bundle import Bundle
from vflc.passes import place

PARTIES = """
party alice {
  key ID
  feature x: float
  feature c: int -> index(50)
}
party bob {
  key ID
  feature z: float
  label y: float
}
"""


def compiled(text: str, **options: Any) -> Bundle:
    return compile_source(SourceText("test.vfl", granted(PARTIES + text)), **options)


def edges(bundle: Bundle, phase: str) -> dict[str, tuple[str, str, list[Any]]]:
    return {
        e["id"]: (e["from"], e["to"], e["shape"]) for e in bundle.manifest["edges"] if e["phase"] == phase
    }


def test_a_gradient_that_reaches_no_weight_is_not_sent() -> None:
    bundle = compiled("""
a = dense(alice.x, 3)
s = stop_gradient(a) * 2
t = dense(alice.x, 2)
fuse at bob { logit = dense(concat(s, t), 1) }
predict p = logit
objective mse(logit, bob.y)
""")
    assert edges(bundle, "forward") == {
        "s": ("alice", "bob", ["batch", 3]),
        "t": ("alice", "bob", ["batch", 2]),
    }
    assert edges(bundle, "backward") == {"t.gradient": ("bob", "alice", ["batch", 2])}


def test_free_values_go_where_the_fewest_bytes_cross() -> None:
    """Ten numbers at alice meet one at bob: without a place they meet at alice, and one comes back."""
    bundle = compiled("""
a = dense(alice.x, 10)
b = dense(bob.z, 1)
h = a * b
logit = dense(h, 1)
fuse at bob { out = logit + 0.0 }
predict p = out
objective mse(out, bob.y)
""")
    assert edges(bundle, "forward") == {
        "b": ("bob", "alice", ["batch", 1]),
        "logit": ("alice", "bob", ["batch", 1]),
    }


def test_weights_that_one_place_reads_are_no_question_for_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    free = []
    pieces = place._pieces
    monkeypatch.setattr(place, "_pieces", lambda *about: free.extend(found := pieces(*about)) or found)
    compiled("""
a = dense(alice.x, 3)
fuse at bob { logit = dense(concat(a, bob.z), 1) }
predict p = logit
objective mse(logit, bob.y)
""")
    assert free and not [name for piece in free for name in piece if name.endswith(("kernel", "bias"))]


def test_what_follows_a_demand_is_not_drawn_back_to_its_owner() -> None:
    bundle = compiled("""
b = dense(bob.z, 2)
c = dense(b, 10) at alice
h = relu(c)
fuse at alice { logit = dense(concat(h, alice.x), 1) }
predict p = logit
objective mse(logit, bob.y)
""")
    assert edges(bundle, "forward") == {
        "b": ("bob", "alice", ["batch", 2]),
        "logit": ("alice", "bob", ["batch", 1]),
    }


def test_bytes_of_what_crosses() -> None:
    """A row's; an axis of no fixed length counts once, what crosses once a step by its share of a batch."""

    def value(batched: bool, *sizes: int | None) -> Any:
        axes = [SimpleNamespace(size=size) for size in sizes]
        return SimpleNamespace(type=SimpleNamespace(row_axes=axes, batched=batched))

    assert [place.bytes_a_row(value(True, *sizes), 16) for sizes in ((), (8,), (8, None))] == [4, 32, 32]
    assert place.bytes_a_row(value(False, 8), 16) == 2


def test_a_value_of_two_parties_is_not_drawn_to_its_reader() -> None:
    """A product that bob reads the sum of is cheaper at alice: ten numbers stay, one comes and one goes."""
    bundle = compiled("""
a = dense(alice.x, 10)
b = dense(bob.z, 1)
h = sum(a * b)
fuse at bob { logit = dense(concat(h, bob.z), 1) }
predict p = logit
objective mse(logit, bob.y)
""")
    assert edges(bundle, "forward") == {
        "b": ("bob", "alice", ["batch", 1]),
        "h": ("alice", "bob", ["batch", 1]),
    }


def test_a_party_without_data_joins_and_labels_stay_at_home() -> None:
    bundle = compiled("""
party hub {}
a = dense(alice.x, 4)
b = dense(bob.z, 4)
fuse at hub { h = dense(a + b, 4, activation = relu) }
fuse at bob { logit = dense(h, 1) }
predict p = logit
objective mse(logit, bob.y)
""")
    crossing = edges(bundle, "forward") | edges(bundle, "backward")
    assert set(crossing) == {"a", "b", "h", "h.gradient", "a.gradient", "b.gradient"}
    label = [
        e["id"] for e in bundle.manifest["edges"] if e["phase"] == "forward" and "bob.y" in e["depends_on"]
    ]
    assert label == []


def test_edges_of_the_same_places_and_phase_travel_together() -> None:
    bundle = compiled("""
a = dense(alice.x, 3)
c = embed(alice.c, 2)
fuse at bob { logit = dense(concat(a, c), 1) }
predict p = logit
objective mse(logit, bob.y)
""")
    assert {m["id"]: m["edges"] for m in bundle.manifest["messages"]} == {
        "alice>bob.forward": ["a", "c"],
        "bob>alice.backward": ["c.gradient", "a.gradient"],
    }


def test_names_of_weights_follow_bindings() -> None:
    bundle = compiled("""
block Two(v) { h = dense(v, 3)  return {left = dense(h, 2), right = mlp(h, [4, 2])} }
t = Two(alice.x)
taste = weight(2)
experts = stack([dense(t.left, 2) for i in 1..2], axis = expert)
logit = dense(sum(experts, axis = expert) + t.right * taste, 1)
predict p = logit
objective mse(logit, bob.y)
""")
    names = {n.id for n in bundle.model.graph if n.op == "weight" and not n.id.endswith("bias")}
    assert names == {
        "t.h.dense.kernel", "t.left.dense.kernel", "t.right.mlp.0.kernel", "t.right.mlp.1.kernel", "taste",
        "experts.1.dense.kernel", "experts.2.dense.kernel", "logit.dense.kernel",
    }  # fmt: skip


def test_optimizers_by_pattern() -> None:
    bundle = compiled("""
w = dense(alice.x, 1)
d = dense(alice.x, 1)
logit = w + d
predict p = logit
objective mse(logit, bob.y)
train { optimizer ftrl(lr = 0.05) for w  optimizer adam }
""")
    by_optimizer = {u.optimizer: set(u.arrays) for u in bundle.model.updates}
    assert by_optimizer["ftrl"] == {"w.dense.kernel", "w.dense.bias"}
    assert "d.dense.kernel" in by_optimizer["adam"]


def test_tables_of_one_width_become_one() -> None:
    bundle = compiled("""
e = embed([alice.c, alice.c], dim = 4)
f = embed(alice.c, dim = 4)
logit = dense(flatten(e), 1) + dense(f, 1)
predict p = logit
objective mse(logit, bob.y)
""")
    rows = [u for u in bundle.model.updates if u.pairs]
    assert len(rows) == 1
    assert len(bundle.model.graph[rows[0].arrays[0]].attrs["parts"]) == 3


def test_a_bundle_does_not_replace_what_is_no_bundle(tmp_path: Any) -> None:
    (tmp_path / "precious.txt").write_text("data")
    bundle = compiled("predict p = dense(alice.x, 1)\nobjective mse(dense(alice.x, 1), bob.y)")
    with pytest.raises(FileExistsError):
        bundle.write(tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "data"
    bundle.write(tmp_path / "out")
    bundle.write(tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "precious.txt"]


def test_an_axis_must_not_be_guessed() -> None:
    with pytest.raises(Refused, match="VFL0202"):
        compiled("e = embed([alice.c], dim = 4)\nlogit = sum(e, axis = fields)")
