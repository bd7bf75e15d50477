"""The constructions whose bound is "all" or a code: the attack that gets there is in the audit."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit.attacking import reached
from learn.test_constructions import (
    END,
    FACTORS,
    FEATURES,
    HIDING,
    LOSSES,
    PARTIES,
    SUM,
    TARGET,
    TOPS,
    WEIGHT,
    X,
)

SECRETS = {"bob.Rating": "bob.liked", "bob.Price": "bob.cost", "bob.star": "bob.star"}
LINKING = FACTORS.replace("dot(v, w)", "dot(v, w) + f").replace(
    "v =", "f = dense(flatten(embed([alice.City], dim = 1)), 1)\nv =", 1
)
SLOW = "train { optimizer sgd(lr = 0.01) }\n"
ENOUGH = 0.95


def behind(top: str) -> str:
    return f"h = dense({X}, 6)\n{top}\n{END}"


@pytest.mark.parametrize("top", list(TOPS))
def test_every_top(top: str, tmp_path: Path) -> None:
    attack = "sign" if top == "dropout" else "start"
    assert reached(PARTIES + behind(TOPS[top]), tmp_path, "alice", "bob.liked", attack) > ENOUGH


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_loss(loss: str, tmp_path: Path) -> None:
    text, column, _ = LOSSES[loss]
    body = f"h = dense({X}, 6)\nlogit = dense(mlp(h, [8]), 1) at bob\nobjective {text}\n"
    secret = "bob.W" if "weight" in text else SECRETS[column]
    body += "predict seen = logit of bob.cost\n"
    least = 0.9 if secret == "bob.cost" else ENOUGH  # the network has to multiply
    assert reached(PARTIES + body, tmp_path, "alice", secret, "start") > least


@pytest.mark.parametrize(
    ("name", "attack", "steps", "least"),
    [
        ("tiny noise", "start", 8, ENOUGH),
        ("norms alike", "epochs", 160, ENOUGH),  # fresh noise in each step
        ("marvell", "epochs", 480, 0.6),  # the same, but so much of it that many epochs are needed
        ("compression", "start", 8, ENOUGH),
        ("the largest alone", "start", 8, ENOUGH),
        ("a large epsilon", "start", 8, ENOUGH),
    ],
)
def test_what_hides_a_label_without_a_bound(
    name: str, attack: str, steps: int, least: float, tmp_path: Path
) -> None:
    body = behind("logit = dense(mlp(h, [8]), 1) at bob") + HIDING[name][0] + "\n" + SLOW
    assert reached(PARTIES + body, tmp_path, "alice", "bob.liked", attack, steps=steps) > least


@pytest.mark.parametrize(
    ("name", "attack", "batch", "steps", "least"),
    [
        ("sixteen units of tanh", "start", 128, 4, ENOUGH),
        ("one unit", "epochs", 512, 12, ENOUGH),  # one equation a step, as long as weights change
        ("a column by a constant", "start", 128, 4, ENOUGH),
        ("a column normalised", "start", 128, 4, ENOUGH),
        ("a deep bottom", "epochs", 512, 20, 0.85),  # two numbers a step of three columns, not linearly
        ("compression", "start", 128, 4, 0.9),  # two bits a number are what is left
    ],
)
def test_every_bottom(name: str, attack: str, batch: int, steps: int, least: float, tmp_path: Path) -> None:
    bottom, _, protect = FEATURES[name].partition("\nprotect")
    body = f"{bottom}\nlogit = dense(mlp(h, [8]), 1) at bob\n{END}{protect and 'protect' + protect}\n"
    body += "train { optimizer adam(lr = 0.01) }\n"
    assert reached(PARTIES + body, tmp_path, "bob", "alice.x1", attack, batch, steps) > least


@pytest.mark.parametrize(
    ("body", "receiver", "secret", "attack", "batch", "steps"),
    [
        (FACTORS, "alice", "bob.Item", "alike", 128, 4),
        (LINKING, "alice", "bob.Item", "linked", 128, 4),
        (TARGET, "alice", "bob.cost", "taught", 128, 4),
        (WEIGHT, "alice", "bob.liked", "sums", 1, 400),
        (SUM, "bob", "alice.x1", "start", 128, 4),
        (SUM, "bob", "carol.z1", "start", 128, 4),
    ],
    ids=["factors", "linking", "target", "weight", "sum of alice", "sum of carol"],
)
def test_what_gradients_and_sums_carry(
    body: str, receiver: str, secret: str, attack: str, batch: int, steps: int, tmp_path: Path
) -> None:
    assert reached(PARTIES + body, tmp_path, receiver, secret, attack, batch, steps) > ENOUGH


def test_noise_in_training_alone(tmp_path: Path) -> None:
    """Rows that are only evaluated cross as they are, but for the clipping."""
    body = (
        f"h = stop_gradient(dense({X}, 4))\nlogit = dense(mlp(h, [8]), 1) at bob\n{END}"
        "protect h with gaussian(clip = 1.0, epsilon = 1, delta = 1e-6) in training\n"
    )
    assert reached(PARTIES + body, tmp_path, "bob", "alice.x1", "taught", steps=4) > 0.9


def test_a_small_epsilon_leaves_no_more_than_it_says(tmp_path: Path) -> None:
    """Of labels that are flipped with odds of e^0.5 to 1, an AUC of .62 is all that is there to find."""
    body = behind("logit = dense(mlp(h, [8]), 1) at bob") + HIDING["a small epsilon"][0] + "\n"
    assert reached(PARTIES + body, tmp_path, "alice", "bob.liked", "start") < 0.7
