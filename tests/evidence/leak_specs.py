"""Random models behind a cut, of which some give labels away: a top, a loss, who sends what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

ROWS = 48
PARTIES = ("alice", "carol", "dave")

Derivative = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
ELEMENTWISE: dict[str, Derivative] = {
    "{}": np.ones_like,
    "sigmoid({})": lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2,
    "softplus({})": lambda x: 1 / (1 + np.exp(-x)),
    "exp(0.3 * {})": lambda x: 0.3 * np.exp(0.3 * x),
    "leaky_relu({})": lambda x: np.where(x > 0, 1.0, 0.2),
    "tanh({})": lambda x: 1 - np.tanh(x) ** 2,
    "relu({})": lambda x: np.where(x > 0, 1.0, 0.0),
}
"""What may stand right behind the cut, with its derivative, which a party knows at its own values."""
LAYERS = (
    "dense({}, 24, activation = tanh)",
    "dense({}, 24, activation = relu)",
    "dense({}, 24, activation = gelu)",
    "dense({}, 24)",
    "mlp({}, [24, 24], activation = softplus)",
    "softmax(dense({}, 24))",
    "dropout({}, 0.2)",
)
ENDS = (
    "dense({}, {n})",
    "sum(dense({}, 4) * weight(4))",
    "softplus(dense({}, {n}))",
    "2 * tanh(dense({}, {n})) - 1",
)


@dataclass(frozen=True)
class Spec:
    """A text, its loss, how many classes its label has, and what stands right behind the cut."""

    text: str
    loss: str
    classes: int
    first: str


@st.composite
def leak_specs(draw: st.DrawFn) -> Spec:
    """Every party sends four numbers a row to bob, who joins them, goes on and compares with his label."""
    count = draw(st.integers(1, 3))
    loss = draw(st.sampled_from(("bce", "bce", "mse", "cce")))
    n = 3 if loss == "cce" else 1
    parties = PARTIES[:count]
    lines = [f"party {p} {{\n  key ID\n  feature x: float\n  feature c: int -> index(7)\n}}" for p in parties]
    label = {
        "bce": "label y = target > 0",
        "mse": "label y = target",
        "cce": "label y: int -> index(3)",
    }[loss]
    column = "" if loss == "cce" else "\n  column target: float"
    lines.append(f"party bob {{\n  key ID\n  feature x: float\n  {label}{column}\n}}")
    for p in parties:
        hidden = f"dense(concat(flatten(embed({p}.features, dim = 3)), {p}.x), 6, activation = tanh)"
        lines.append(f"{p}_out = dense({hidden}, 4)")
    lines.append("own = dense(dense(bob.x, 6, activation = tanh), 4)")
    values = [f"{p}_out" for p in parties]
    joined = draw(st.sampled_from((f"concat({', '.join([*values, 'own'])})", " + ".join([*values, "own"]))))
    first = draw(st.sampled_from(list(ELEMENTWISE)))
    body = first.format(joined if "+" not in joined else f"({joined})")
    for _ in range(draw(st.integers(0, 2))):
        body = draw(st.sampled_from(LAYERS)).format(body)
    ends = ENDS[:1] if loss == "cce" else ENDS
    end = draw(st.sampled_from(ends)).format("h", n=n)
    lines.append(f"fuse at bob {{\n  h = {body}\n  logit = {end}\n}}")
    predicted = {"bce": "sigmoid(logit)", "mse": "logit", "cce": "softmax(logit)"}[loss]
    lines += [f"predict y = {predicted}", f"objective {loss}(logit, bob.y)"]
    lines.append(f"train {{ optimizer sgd(lr = 0.01)  batch {ROWS} }}")
    return Spec("\n".join(lines) + "\n", loss, n if loss == "cce" else 2, first)


def batch(spec: Spec, ids: list[str], seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """A batch of all inputs; both classes, or all three, occur."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray[Any, Any]] = {}
    for name in ids:
        if name == "bob.y":
            labels = np.arange(ROWS) % spec.classes
            made[name] = (
                labels.astype(np.int32)
                if spec.loss == "cce"
                else rng.normal(size=(ROWS, 1))
                if spec.loss == "mse"
                else labels[:, None].astype(np.float64)
            )
        elif name.endswith(".c"):
            made[name] = rng.integers(0, 7, ROWS).astype(np.int32)
        else:
            made[name] = rng.normal(size=(ROWS, 1))
    return made
