"""Random specs over one to four parties, and batches that fit them, for Hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from granting import granted
from hypothesis import strategies as st

NAMES = ("alice", "bob", "carol", "dave")
FEATURES = (
    "feature {name}: int -> index({n})",
    "feature {name}: string -> hash({n})",
    "feature {name}: float",
    'feature {name}: string -> split(" ") -> hash({n})',
)
ACTIVATIONS = ("relu", "sigmoid", "tanh", "softplus", "gelu", "leaky_relu")
OPTIMIZERS = (
    "sgd(lr = 0.1)",
    "sgd(lr = 0.05, momentum = 0.9, nesterov = true)",
    "adam(lr = 0.01)",
    "adagrad(lr = 0.1)",
    "rmsprop(lr = 0.01)",
    "ftrl(lr = 0.1, l1 = 0.001, l2 = 0.001)",
    "adamw(lr = 0.01, weight_decay = 0.01)",
    "adam(lr = cosine(0.01, steps = 10))",
    "sgd(lr = warmup(0.1, steps = 2))",
)


@st.composite
def specs(draw: st.DrawFn, parties: int | None = None) -> str:
    """A whole spec: every party's features through a bottom of its own, joined in a random way."""
    count = parties or draw(st.integers(1, 4))
    names = NAMES[:count]
    owner = draw(st.sampled_from(names))
    lines = [_party(draw, name, label=name == owner) for name in names]
    hub = draw(st.booleans())
    if hub:
        lines.append("party hub {}")
    bottoms = {name: _bottom(draw, name) for name in names}
    lines += bottoms.values()
    width = 4
    joined = draw(st.sampled_from(("concat", "sum", "product", "dot")))
    values = [f"{name}_out" for name in names]
    top = {
        "concat": f"concat({', '.join(values)})",
        "sum": " + ".join(values),
        "product": " * ".join(f"sigmoid({value})" for value in values),
        "dot": f"concat(dot({values[0]}, {values[-1]}), {values[0]})",
    }[joined]
    place = draw(st.sampled_from((*names, *(["hub"] if hub else []), "")))
    activation = draw(st.sampled_from(ACTIVATIONS))
    head = f"h = {top}\nt = dense(h, {width}, activation = {activation})\nlogit = dense(t, 1)"
    lines.append(f"fuse at {place} {{\n{head}\n}}" if place else head)
    loss = draw(st.sampled_from(("bce", "mse", "mae", "huber")))
    penalty = draw(
        st.sampled_from(("", f" + l2(0.01, {names[0]}_out.weights)", " + 0.5 * l1(0.01, t.weights)"))
    )
    lines.append(f"predict y = {'sigmoid(logit)' if loss == 'bce' else 'logit'}")
    lines.append(f"objective {loss}(logit, {owner}.y){penalty}")
    optimizer = draw(st.sampled_from(OPTIMIZERS))
    extra = draw(
        st.sampled_from(
            ("", f"\n  optimizer sgd(lr = 0.1) for {names[0]}_out", "\n  clip_norm 0.5", "\n  clip_value 0.1")
        )
    )
    lines.append(f"train {{\n  optimizer {optimizer}{extra}\n  batch 8\n}}")
    return granted("\n".join(lines) + "\n")


def _party(draw: st.DrawFn, name: str, label: bool) -> str:
    rows = ["  key ID"]
    for index in range(draw(st.integers(1, 4))):
        template = draw(st.sampled_from(FEATURES))
        rows.append("  " + template.format(name=f"f{index}", n=draw(st.integers(1, 12))))
    if label:
        rows.append("  label y = target > 0\n  column target: float")
    return f"party {name} {{\n" + "\n".join(rows) + "\n}"


def _bottom(draw: st.DrawFn, name: str) -> str:
    width = draw(st.sampled_from((2, 3)))
    kind = draw(st.sampled_from(("flat", "sum", "norm", "drop", "batch")))
    e = f"embed({name}.features, dim = {width})"
    body = {
        "flat": f"flatten({e})",
        "sum": f"sum({e}, axis = field)",
        "norm": f"layer_norm(flatten({e}))",
        "drop": f"dropout(flatten({e}), 0.3)",
        "batch": f"batch_norm(flatten({e}))",
    }[kind]
    activation = draw(st.sampled_from(ACTIVATIONS))
    if draw(st.integers(0, 5)) == 0:  # a table whose rows cross as they are
        return f"{name}_out = sum(embed({name}.features, dim = 4), axis = field)"
    return f"{name}_out = dense(mlp({body}, [5], activation = {activation}), 4)"


def batch(encoders: dict[str, Any], rows: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Random inputs by id for every party of an `encoders.json`."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray[Any, Any]] = {}
    for party, table in encoders["parties"].items():
        for column in table["columns"]:
            if column["kind"] == "column":
                continue
            name, count = f"{party}.{column['name']}", column["rows"]
            if column["shape"] == "id":
                inputs[name] = rng.integers(0, count, rows).astype(np.int32)
            elif column["shape"] == "ids":
                inputs[name] = rng.integers(-1, count, (rows, 3)).astype(np.int32)
            elif column["kind"] == "label":
                inputs[name] = rng.integers(0, 2, (rows, 1)).astype(np.float64)
            else:
                inputs[name] = rng.normal(size=(rows, 1))
    return inputs
