"""Findings on whole specs: what is reported, on which edges, and what takes it away."""

from __future__ import annotations

import numpy as np
import pytest
from vflc_runtime.session import Session

from vflc.diagnostics import Collector, Source
from vflc.driver import check_source, compile_source
from vflc.ir.disclosure import Finding
from vflc.ir.model import Model
from vflc.passes.lower import lower
from vflc.passes.pipeline import pipeline, run
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


def compiled(text: str) -> Model:
    collector = Collector()
    model = lower(parse(Source("spec.vfl", text), collector), "spec", None, collector)
    assert model is not None
    return run(model, collector, pipeline())


def codes(text: str) -> list[str]:
    return sorted({found.code for found in check_source(Source("spec.vfl", text))})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("logit = dense(concat(a, b), 1)", "VFL0310"),
        ("logit = dense(dense(concat(a, b), 8), 1)", "VFL0310"),
        ("logit = dense(relu(a), 1) + dense(b, 1)", "VFL0310"),
        ("logit = sum(square(a + b)) + sum(a)", "VFL0320"),
        ("logit = sum(a * a)", "VFL0310"),
        ("logit = sum(a * b)", "VFL0320"),
        ("logit = softplus(dense(dense(concat(a, b), 8), 1)) - 1", "VFL0310"),
        ("logit = dense(exp(0.1 * (a + b)), 1)", "VFL0310"),
        ("logit = dense(sigmoid(a) * sigmoid(b), 1)", "VFL0310"),
        ("logit = dense(mlp(concat(a, b), [16]), 1)", "VFL0320"),
        ("logit = dense(gelu(dense(a + b, 8)), 1)", "VFL0320"),
        ("logit = dense(a / (1 + exp(b)), 1)", "VFL0310"),
        ("logit = 0 - dense(maximum(a, b), 1)", "VFL0310"),
        ("logit = dense(stop_gradient(a) + b, 1)", None),
        ("logit = dense(mlp(concat(a, b), [16]), 1) + sum(a)", "VFL0320"),
        ("logit = sum(a * relu(b))", "VFL0310"),
        ("logit = sum(square(exp(a + b))) + sum(a)", "VFL0310"),
    ],
)
def test_what_stands_between_a_cut_and_the_loss(body: str, code: str | None) -> None:
    assert [c for c in codes(spec(body)) if c in ("VFL0310", "VFL0320")] == ([code] if code else [])


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
    assert "VFL0310" in codes(text)


def test_a_loss_of_classes() -> None:
    text = spec("logit = dense(concat(a, b), 5)", "cce(logit, bob.stars)").replace(
        "label liked = Rating > 3", "label stars: int -> index(5)"
    )
    text = text.replace("predict liked = sigmoid(logit)", "predict stars = softmax(logit)")
    assert "VFL0310" in codes(text)
    narrow = text.replace("[16, 6]", "[16, 3]").replace("[6]", "[3]")
    assert "VFL0320" in codes(narrow), "three numbers do not tell five classes"


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ("protect gradients to alice with marvell(sum_kl = 0.25)", []),
        ("protect gradients to alice with gaussian(clip = 1.0, noise = 2.0)", []),
        ("protect bob.liked with label_dp(epsilon = 1)", []),
        ("protect gradients to alice with quantize(bits = 6)", ["VFL0310", "VFL0324"]),
    ],
)
def test_what_noise_takes_away_and_compression_does_not(asked: str, left: list[str]) -> None:
    assert codes(spec("logit = dense(concat(a, b), 1)", more=asked + "\n")) == left


def test_a_hub_without_data_learns_labels_too() -> None:
    text = spec(DEEP).replace("fuse at bob", "fuse at hub")
    text = text.replace("predict liked = sigmoid(logit)", "predict liked = sigmoid(logit) at bob")
    model = compiled(text + 'accept VFL0310 on gradients to hub because "trusted"\n')
    (finding,) = [f for f in model.findings if f.code == "VFL0310"]
    assert finding.accepted == "trusted"
    assert "logit.gradient" in finding.edges


def test_each_receiver_is_judged_by_itself() -> None:
    body = "logit = dense(mlp(concat(a, b), [16]), 1) + dense(c, 1)"
    carol = "party carol {\n  key ID\n  feature F: float\n  feature G: float\n}"
    text = spec(body).replace("party hub {}", carol)
    text = text.replace("fuse at bob", "c = mlp(concat(carol.F, carol.G), [8])\nfuse at bob")
    text += 'accept VFL0310 on gradients to carol because "x"\n'
    found = {f.code: f for f in compiled(text).findings}
    assert found["VFL0310"].edges == ("c.gradient",) and found["VFL0320"].edges == ("a.gradient",)


def test_a_label_handed_on_in_an_activation() -> None:
    text = spec(DEEP, "bce(logit, bob.liked) + mse(x, 0)")
    text = text.replace("party hub {}", "t = dense(bob.liked, 4)\nparty hub {}")
    text = text.replace("fuse at bob { logit", "x = dense(a + dense(t, 6), 6) at alice\nfuse at bob { logit")
    assert "VFL0310" in codes(text)


def test_raw_columns_cross_where_they_are_waived() -> None:
    text = spec("h = mlp(concat(alice.Age, a), [8])  logit = dense(mlp(concat(h, b), [8]), 1)")
    assert codes(text)[0] == "VFL0302"
    model = compiled(text + 'accept VFL0302 on alice.Age because "public"\n')
    wanted = Finding("VFL0302", "error", ("alice.Age",), "alice.Age reaches bob raw", "public")
    assert wanted in model.findings


def test_what_is_known_of_an_edge_is_in_the_manifest() -> None:
    text = spec("logit = dense(mlp(concat(a, b), [16]), 1)").replace("feature Age: float\n", "")
    bundle = compiled(text)
    known = bundle.disclosures["a"]
    assert known["values"] == 300 and round(known["bits_per_row"], 2) == 8.23
    assert known["secrets"]["alice.City"] == {"width": 1, "linear": False, "injective": False}
    assert known["range"] == [-1.0, 1.0]
    assert bundle.disclosures["a.gradient"]["slopes"]["liked"]["coefficient"] == "varies by row"


def test_the_gradient_at_the_score_is_the_slope(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`logit.gradient` at a hub is (p - y) / n: the finding says the truth."""
    text = spec(DEEP).replace("fuse at bob", "fuse at hub")
    text = text.replace("predict liked = sigmoid(logit)", "predict liked = sigmoid(logit) at bob")
    text += 'accept VFL0310 on gradients to hub because "x"\n'
    folder = tmp_path_factory.mktemp("hub")
    compile_source(Source("spec.vfl", text), precision="float64").write(folder)
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
