"""Evidence on whole specs: what is known to tell a column, on which edges, and what takes it away."""

from __future__ import annotations

import numpy as np
import pytest
from granting import granted
from vflc_runtime.run.session import Session

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.driver import check_source, compile_source
from vflc.ir.learn import Evidence
from vflc.ir.release import Finding
from vflc.ir.stages import Scheduled
from vflc.passes.lower import lower
from vflc.passes.pipeline import pipeline
from vflc.syntax.parser import parse

HEAD = """
party alice {
  key ID
  feature Age: float
  feature City: string -> hash(300)
}
party bob {
  key ID
  feature Item: int -> index(400)
  column Rating: int
  label liked = Rating > 3
}
party hub {}
a = mlp(flatten(embed(alice.features, dim = 8)), [16, 6], activation = tanh)
b = mlp(embed(bob.Item, dim = 8), [6], activation = tanh)
"""
DEEP = "logit = dense(mlp(concat(a, b), [16]), 1)"
TAIL = "predict liked = sigmoid(logit)\nobjective {loss}\n"


def spec(body: str, loss: str = "bce(logit, bob.liked)", more: str = "") -> str:
    return HEAD + f"fuse at bob {{ {body} }}\n" + TAIL.format(loss=loss) + more


def compiled(text: str) -> Scheduled:
    collector = DiagnosticCollector()
    model = lower(parse(SourceText("spec.vfl", granted(text)), collector), "spec", None, collector)
    assert model is not None
    return pipeline().run(model, collector)


def codes(text: str) -> list[str]:
    return sorted({found.code for found in check_source(SourceText("spec.vfl", granted(text)))})


def of_labels(text: str, receiver: str = "alice") -> dict[str, Evidence]:
    """What tells a receiver of labels, by its kind."""
    found = [e for e in compiled(text).disclosed.evidence if e.receiver == receiver and e.sources[0].label]
    return {each.kind: each for each in found}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("logit = dense(concat(a, b), 1)", "exact label"),
        ("logit = dense(dense(concat(a, b), 8), 1)", "exact label"),
        ("logit = dense(relu(a), 1) + dense(b, 1)", "exact label"),
        ("logit = sum(square(a + b)) + sum(a)", "hints"),
        ("logit = sum(a * a)", "exact label"),
        ("logit = sum(a * b)", "hints"),
        ("logit = softplus(dense(dense(concat(a, b), 8), 1)) - 1", "exact label"),
        ("logit = dense(exp(0.1 * (a + b)), 1)", "exact label"),
        ("logit = dense(sigmoid(a) * sigmoid(b), 1)", "exact label"),
        ("logit = dense(mlp(concat(a, b), [16]), 1)", "hints"),
        ("logit = dense(gelu(dense(a + b, 8)), 1)", "hints"),
        ("logit = dense(a / (1 + exp(b)), 1)", "exact label"),
        ("logit = 0 - dense(maximum(a, b), 1)", "exact label"),
        ("logit = dense(stop_gradient(a) + b, 1)", None),
        ("logit = dense(mlp(concat(a, b), [16]), 1) + sum(a)", "hints"),
        ("logit = sum(a * relu(b))", "exact label"),
        ("logit = sum(square(exp(a + b))) + sum(a)", "exact label"),
    ],
)
def test_what_stands_between_a_cut_and_the_loss(body: str, kind: str | None) -> None:
    assert list(of_labels(spec(body))) == ([kind] if kind else [])


@pytest.mark.parametrize(
    "loss",
    [
        "mse(logit, bob.Rating2)",
        "mae(logit, bob.Rating2)",
        "huber(logit, bob.Rating2)",
        "2 * bce(logit, bob.liked)",
        "bce(logit, bob.liked, weight = 2)",
        "mse(sigmoid(logit), bob.liked)",
    ],
)
def test_losses(loss: str) -> None:
    text = spec("logit = dense(concat(a, b), 1)", loss).replace(
        "label liked", "label Rating2 = Rating\n  label liked"
    )
    if "Rating2" in loss:
        text = text.replace("predict liked = sigmoid(logit)", "predict Rating2 = logit")
    assert "exact label" in of_labels(text)


def test_a_loss_of_classes() -> None:
    text = spec("logit = dense(concat(a, b), 5)", "cce(logit, bob.stars)").replace(
        "label liked = Rating > 3", "label stars: int -> index(5)"
    )
    text = text.replace("predict liked = sigmoid(logit)", "predict stars = softmax(logit)")
    assert "exact label" in of_labels(text)
    narrow = text.replace("[16, 6]", "[16, 3]").replace("[6]", "[3]")
    assert "hints" in of_labels(narrow), "three numbers do not tell five classes"


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ("protect gradients to alice with marvell(sum_kl = 0.25)", []),
        ("protect gradients to alice with gaussian(clip = 1.0, noise = 2.0)", []),
        ("protect bob.liked with label_dp(epsilon = 1)", []),
        ("protect gradients to alice with quantize(bits = 6)", ["exact label"]),
    ],
)
def test_what_noise_takes_away_and_compression_does_not(asked: str, left: list[str]) -> None:
    assert list(of_labels(spec("logit = dense(concat(a, b), 1)", more=asked + "\n"))) == left


def test_a_hub_without_data_learns_labels_too() -> None:
    text = spec(DEEP).replace("fuse at bob", "fuse at hub")
    text = text.replace("predict liked = sigmoid(logit)", "predict liked = sigmoid(logit) at bob")
    assert "logit.gradient" in of_labels(text, "hub")["exact label"].edges


def test_each_receiver_is_judged_by_itself() -> None:
    body = "logit = dense(mlp(concat(a, b), [16]), 1) + dense(c, 1)"
    carol = "party carol {\n  key ID\n  feature F: float\n  feature G: float\n}"
    text = spec(body).replace("party hub {}", carol)
    text = text.replace("fuse at bob", "c = mlp(concat(carol.F, carol.G), [8])\nfuse at bob")
    assert {kind: e.edges for kind, e in of_labels(text, "carol").items()} == {"exact label": ("c.gradient",)}
    assert {kind: e.edges for kind, e in of_labels(text).items()} == {"hints": ("a.gradient",)}


def test_a_label_handed_on_in_an_activation() -> None:
    text = spec(DEEP, "bce(logit, bob.liked) + mse(x, 0)")
    text = text.replace("party hub {}", "t = dense(bob.liked, 4)\nparty hub {}")
    text = text.replace("fuse at bob { logit", "x = dense(a + dense(t, 6), 6) at alice\nfuse at bob { logit")
    assert of_labels(text)["label"].edges == ("t",)


def test_raw_columns_cross_where_they_are_waived() -> None:
    text = spec("h = mlp(concat(alice.Age, a), [8])  logit = dense(mlp(concat(h, b), [8]), 1)")
    assert codes(text)[0] == "VFL0302"
    model = compiled(text + 'accept VFL0302 on alice.Age because "the age is public"\n')
    wanted = Finding("VFL0302", "error", ("alice.Age",), "alice.Age reaches bob raw", "the age is public")
    assert wanted in model.disclosed.findings


def test_what_is_known_of_an_edge_is_in_the_manifest() -> None:
    text = spec("logit = dense(mlp(concat(a, b), [16]), 1)").replace("feature Age: float\n", "")
    bundle = compiled(text)
    known = bundle.disclosed.disclosures["a"]
    assert known["values"] == 300 and round(known["bits_per_row"], 2) == 8.23
    assert known["secrets"]["alice.City"] == {"width": 1, "linear": False, "injective": False}
    assert known["range"] == [-1.0, 1.0]
    assert bundle.disclosed.disclosures["a.gradient"]["slopes"]["liked"]["coefficient"] == "varies by row"


def test_the_gradient_at_the_score_is_the_slope(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`logit.gradient` at a hub is (p - y) / n: the evidence says the truth."""
    text = spec(DEEP).replace("fuse at bob", "fuse at hub")
    text = text.replace("predict liked = sigmoid(logit)", "predict liked = sigmoid(logit) at bob")
    folder = tmp_path_factory.mktemp("hub")
    compile_source(SourceText("spec.vfl", granted(text)), precision="float64").write(folder)
    heard = []
    session = Session(folder, listen=heard.append)
    rng = np.random.default_rng(0)
    inputs = {
        "alice.Age": rng.normal(size=(9, 1)),
        "alice.City": rng.integers(0, 300, 9).astype(np.int32),
        "bob.Item": rng.integers(0, 400, 9).astype(np.int32),
        "bob.liked": rng.integers(0, 2, (9, 1)).astype(np.float64),
    }
    session.step(inputs)
    (back,) = [e.tensors["logit.gradient"] for e in heard if "logit.gradient" in e.tensors]
    assert np.array_equal(np.sign(back), np.where(inputs["bob.liked"] > 0, -1.0, 1.0))


KINDS = """
party alice {
  key ID
  feature x: float
  feature z: float
  feature Gender: string -> vocab("F", "M")
  feature id: int -> index(50)
}
party bob {
  key ID
  feature City: int -> index(50)
  label y: float
}
few = dense(embed(alice.Gender, dim = 2), 2)
one = dense(alice.x, 1)
low = dense(concat(alice.x, alice.z), 2)
t = table(50, 2) at alice
v = mlp(lookup(t, alice.id), [3])
u = mlp(lookup(t, bob.City), [3])
logit = dense(concat(few, one, low, u, v), 1) at bob
predict y = logit
objective mse(logit, bob.y)
train { batch 1 }
"""


def test_every_kind_says_which_columns_by_which_edges() -> None:
    evidence = compiled(KINDS).disclosed.evidence
    found = [(e.kind, e.receiver, list(map(str, e.sources)), e.edges) for e in evidence]
    assert ("few values", "bob", ["alice.Gender"], ("few",)) in found
    assert ("one column", "bob", ["alice.x"], ("one",)) in found
    assert ("solvable", "bob", ["alice.Gender", "alice.x", "alice.z"], ("few", "one", "low")) in found
    assert ("ids", "alice", ["bob.City"], ("t.gradient",)) in found
    assert any(kind == "one row" and edges == ("t.gradient",) for kind, _, _, edges in found)
    assert any(kind == "exact label" and receiver == "alice" for kind, receiver, _, _ in found)


def test_evidence_stands_beside_the_bounds_in_the_manifest() -> None:
    bundle = compile_source(SourceText("spec.vfl", granted(KINDS)))
    (ids,) = [e for e in bundle.manifest["evidence"] if e["kind"] == "ids"]
    assert ids["to"] == "alice" and ids["of"] == ["bob.City"] and ids["edges"] == ["t.gradient"]
    page = bundle.files["manifest.md"].decode()
    assert "| alice | bob.City | its code (5.644 bits a row) |" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| alice | bob.City |")]
    assert row.endswith("| one row, ids |") and "- ids, to alice: `t.gradient` has rows" in page
