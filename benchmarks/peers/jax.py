"""JAX in its own way: functions of weights, one jitted step; or three, where the model is split by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from peers.rows import MANY, SIZES

Array = np.ndarray[Any, Any]
Tree = dict[str, Any]
RATE, BETA1, BETA2, EPS = 0.001, 0.9, 0.999, 1e-7


class Trainer:
    """See `Peer`; with `split`, each party has functions of its own, and values cross between them."""

    def __init__(
        self, model: str, columns: Mapping[str, Array], labels: Array, batch: int, split: bool = False
    ) -> None:
        if model != "deepfm":
            raise NotImplementedError(f"{model} is not written in JAX")
        self.rows, self.batch = len(labels), batch
        self.data = {name: jnp.asarray(values) for name, values in columns.items()} | {
            "y": jnp.asarray(labels)
        }
        self.make = split_step if split else whole_step
        self.random = np.random.default_rng(0)

    def take(self, weights: Mapping[str, Array]) -> None:
        """See `Peer`."""
        self.step = self.make({name: jnp.asarray(value.copy()) for name, value in weights.items()}, self.data)

    def losses(self, batches: Sequence[Array]) -> Iterator[float]:
        """See `Peer`."""
        return (float(self.step(rows)) for rows in batches)

    def epoch(self, steps: int) -> float:
        """See `Peer`."""
        start = time.perf_counter()
        order = self.random.permutation(self.rows)
        for first in range(0, steps * self.batch, self.batch):
            loss = self.step(order[first : first + self.batch])
        loss.block_until_ready()
        return time.perf_counter() - start


# --- the model ------------------------------------------------------------------------------


def mlp(weights: Tree, name: str, value: Any, depth: int) -> Any:
    """Layers with ReLU."""
    for index in range(depth):
        layer = f"{name}.mlp.{index}"
        value = jax.nn.relu(value @ weights[f"{layer}.kernel"] + weights[f"{layer}.bias"])
    return value


def bottom(use: str, weights: Tree, x: Tree) -> Tree:
    """One party's part: what it sends."""

    def embed(kind: str) -> list[Any]:
        tables = {field: weights[f"{use}.{kind}.{field}"] for field in SIZES[use]}
        return [x[field] @ table if field == MANY else table[x[field]] for field, table in tables.items()]

    e = embed("e")
    return {
        "first": sum(embed("first")),
        "v": sum(e),
        "v2": sum(jnp.square(each).sum(1, keepdims=True) for each in e),
        "deep": mlp(weights, f"{use}.deep", jnp.concatenate(e, 1), 2),
    }


def top(weights: Tree, a: Tree, b: Tree, y: Any) -> Any:
    """The loss of what both send."""
    pairs = 0.5 * (jnp.square(a["v"] + b["v"]).sum(1, keepdims=True) - a["v2"] - b["v2"])
    deep = mlp(weights, "logit", jnp.concatenate([a["deep"], b["deep"]], 1), 3)
    deep = deep @ weights["logit.dense.kernel"] + weights["logit.dense.bias"]
    z = a["first"] + b["first"] + pairs + deep
    return (jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z)))).mean()


# --- Adam -----------------------------------------------------------------------------------


def fresh(weights: Tree) -> Tree:
    """Adam's state, with the weights in it."""
    zeros = {name: jnp.zeros_like(value) for name, value in weights.items()}
    return {
        "weights": weights,
        "m": zeros,
        "v": {name: value.copy() for name, value in zeros.items()},
        "t": 0,
    }


def adam(state: Tree, gradients: Tree) -> Tree:
    """One step over all weights (Kingma and Ba 2015)."""
    t = state["t"] + 1
    rate = RATE * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    m = {n: BETA1 * state["m"][n] + (1 - BETA1) * g for n, g in gradients.items()}
    v = {n: BETA2 * state["v"][n] + (1 - BETA2) * g * g for n, g in gradients.items()}
    weights = {n: w - rate * m[n] / (jnp.sqrt(v[n]) + EPS) for n, w in state["weights"].items()}
    return {"weights": weights, "m": m, "v": v, "t": t}


# --- a step ---------------------------------------------------------------------------------


def batch_of(data: Tree, rows: Any) -> Tree:
    """The rows of a batch."""
    return {name: values[rows] for name, values in data.items()}


def whole_step(weights: Tree, data: Tree) -> Callable[[Array], Any]:
    """The model as one function; gives the loss before the update."""

    def loss(weights: Tree, x: Tree) -> Any:
        return top(weights, bottom("a", weights, x), bottom("b", weights, x), x["y"])

    @partial(jax.jit, donate_argnums=0)
    def step(state: Tree, data: Tree, rows: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(state["weights"], batch_of(data, rows))
        return adam(state, gradients), value

    held = {"state": fresh(weights)}

    def run(rows: Array) -> Any:
        held["state"], value = step(held["state"], data, rows)
        return value

    return run


def split_step(weights: Tree, data: Tree) -> Callable[[Array], Any]:
    """alice sends her part, bob his loss's gradients: three functions, as two parties need them."""
    alice = {name: value for name, value in weights.items() if name.startswith("a.")}
    hers = {name: values for name, values in data.items() if name in SIZES["a"]}
    his = {name: values for name, values in data.items() if name not in SIZES["a"]}

    @jax.jit
    def forward(state: Tree, data: Tree, rows: Any) -> Tree:
        return bottom("a", state["weights"], batch_of(data, rows))

    @partial(jax.jit, donate_argnums=0)
    def fuse(state: Tree, sent: Tree, data: Tree, rows: Any) -> Any:
        x = batch_of(data, rows)

        def loss(weights: Tree, sent: Tree) -> Any:
            return top(weights, sent, bottom("b", weights, x), x["y"])

        value, (own, back) = jax.value_and_grad(loss, (0, 1))(state["weights"], sent)
        return adam(state, own), back, value

    @partial(jax.jit, donate_argnums=0)
    def backward(state: Tree, back: Tree, data: Tree, rows: Any) -> Tree:
        _, pull = jax.vjp(lambda weights: bottom("a", weights, batch_of(data, rows)), state["weights"])
        return adam(state, pull(back)[0])

    held = {"alice": fresh(alice), "bob": fresh({n: w for n, w in weights.items() if n not in alice})}

    def run(rows: Array) -> Any:
        sent = forward(held["alice"], hers, rows)
        held["bob"], back, value = fuse(held["bob"], sent, his, rows)
        held["alice"] = backward(held["alice"], back, hers, rows)
        return value

    return run
