"""What is said to somebody who comes from Keras, PyTorch or pandas: what to write, where it is wrong."""

from __future__ import annotations

import pytest
from granting import granted

from vflc.diagnostics import SourceText
from vflc.driver import check_source

SPEC = """party alice {
  key ID
  feature A{1..4}: float
  feature City: string -> hash(10)
}
party bob {
  key ID
  feature Item: int -> index(20)
  column Rating: int
  label liked = Rating > 3
  label stars = Rating -> vocab(1..5)
}
use recsys.{MLP}
h = mlp(embed(alice.City, dim = 8), [16])
"""


def first(line: str) -> tuple[str, str, str]:
    """Code, message and help of the first mistake in the spec with a line more."""
    text = SPEC + line + "\n"
    if "logit =" not in line and "predict" not in line:
        text += "logit = dense(mlp(h, [4]), 1) at bob\n"
    if "predict" not in line:
        text += "predict liked = sigmoid(logit)\n"
    if "objective" not in line:
        text += "objective bce(logit, bob.liked)\n"
    error = next(d for d in check_source(SourceText("s.vfl", granted(text))) if d.level == "error")
    return error.code, error.message, error.help or ""


@pytest.mark.parametrize(
    ("line", "help"),
    [
        ("x = dense(alice.A{1..4}, 1) at alice", "concat(alice.A{1..4})"),
        ("x = dense(alice, 1)", "concat(alice.numbers)"),
        ("x = dense({a = h, b = h}, 1)", "name one of its fields"),
        ("x = dense(h, [16, 1])", "mlp(x, [64, 32])"),
        ("x = Linear(h, 1)", "dense(x, units)"),
        ("x = Embedding(alice.City, 8)", "embed(feature, dim = 8)"),
        ("x = cat([h, h])", "concat(x, y)"),
        ("x = sum(h, axis = -1)", "give the axis by name"),
        ("x = softmax(h, dim = 1)", "give the axis by name"),
        ("x = reduce_mean(h)", "mean(x)"),
        ("x = h.sum()", "sum(h)"),
        ("x = h.shape", "size(h)"),
        ("x = dropout(h, p = 0.5)", "write rate"),
        ("x = dropout(h, 0.5, training = true)", "switched off"),
        ("x = h * 2 if h > 0", "where(condition, a, b)"),
        ("x = alice.A{1..4} * 2", "concat(alice.A{1..4})"),
        ("loss bce(h, bob.liked)", "objective bce(logit, bob.liked)"),
        ("objective binary_crossentropy(h, bob.liked)", "bce(logit, label)"),
        ("objective CrossEntropyLoss(h, bob.stars)", "cce(logits, label)"),
        ("objective softplus(-h)", "mse(x, 0) is mean(square(x))"),
        ("p = sigmoid(dense(h, 1)) at bob\nobjective bce(p, bob.liked)", "remove `sigmoid` here"),
        ("z = dense(h, 5) at bob\nobjective cce(softmax(z), bob.stars)", "remove `softmax` here"),
        ("train { optimizer adam(learning_rate = 0.001) }", "write lr"),
        ("train { lr 0.01 }", "optimizer adam(lr = 0.001)"),
        ("train { early_stopping 3 }", "patience 3"),
        ("train { metrics acc }", "write accuracy"),
        ("train { metrics average_precision }", "write pr_auc"),
        ("party c { key ID\n feature X: boolean }", "write bool"),
        ("party c { key ID\n feature X: float -> normalize }", "standardize"),
        ("party c { key ID\n feature X: string -> one_hot }", "one_hot(feature)"),
        ("party c { key ID\n feature X: string -> embed(8) }", "embed(feature, dim = 8)"),
        ("party c { key ID\n feature X: string -> vocab(100) }", "hash(100)"),
        ("party c { key ID\n feature X: float -> fillna(0) }", "missing(0)"),
    ],
)
def test_what_to_write_instead(line: str, help: str) -> None:
    code, message, said = first(line)
    assert help in said + message, (code, message, said)


def test_a_value_for_each_row_is_no_objective() -> None:
    code, message, help = first("objective softplus(-h)")
    assert code == "VFL0201" and "one value per row, [16]" in message and "`mean(…)` around" in help


@pytest.mark.parametrize("name", ["linear", "identity", "relu"])
def test_an_activation_has_one_name_everywhere(name: str) -> None:
    text = (
        SPEC
        + f"""
b = MLP(alice.features, k = 8, units = [16], outputs = 4, activation = {name})
c = mlp(h, [4], activation = {name}) at alice
logit = dense(mlp(concat(b, c), [4]), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
"""
    )
    assert not [d.message for d in check_source(SourceText("s.vfl", granted(text))) if d.level == "error"]


def test_a_layer_over_many_parties_is_one_finding() -> None:
    parties = "".join(f"party p{i} {{ key ID  feature F{{1..4}}: float }}\n" for i in range(4))
    features = " + ".join(f"p{i}.features" for i in range(4))
    text = (
        parties
        + f"""party q {{ key ID  label y: float }}
logit = dense(concat({features}), 1) at q
predict y = logit
objective mse(logit, q.y)
"""
    )
    (error,) = (d for d in check_source(SourceText("s.vfl", granted(text))) if d.level == "error")
    assert error.code == "VFL0302" and error.message.startswith("16 features are read at q")
    assert "h1 = dense(concat(p0.F1, p0.F2, …), 8), h2 = dense(concat(p1.F1" in (error.help or "")


def test_losses_are_called_after_their_labels() -> None:
    from vflc.driver import compile_source

    text = (
        SPEC
        + """
logit = dense(mlp(h, [4]), 1) at bob
z     = dense(mlp(h, [4]), 5) at bob
predict liked = sigmoid(logit)
predict stars = softmax(z)
objective bce(logit, bob.liked) + cce(z, bob.stars) + 0.1 * mse(sigmoid(logit), bob.liked)
objective l2(0.1, h.weights) + l2(0.2, logit.weights)
"""
    )
    model = compile_source(SourceText("s.vfl", granted(text))).model
    assert model is not None
    assert [loss.name for loss in model.losses] == ["liked.bce", "stars", "liked.mse", "l2", "l2_2"]
