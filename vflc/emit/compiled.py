"""What the objective and the optimizer of a spec are to Keras, as data, which exported models hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vflc.ir.model import Prediction
from vflc.ir.stages import ByMode
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.schedules import SCHEDULES

LOSSES = {
    "bce": ("BinaryCrossentropy", "sigmoid"), "cce": ("SparseCategoricalCrossentropy", "softmax"),
    "mse": ("MeanSquaredError", None), "mae": ("MeanAbsoluteError", None),
}  # fmt: skip
"""Keras's class for a loss, and what makes the prediction of the value that the loss here reads."""
METRICS = {
    "auc": "AUC", "precision": "Precision", "recall": "Recall", "mae": "MeanAbsoluteError",
    "rmse": "RootMeanSquaredError",
}  # fmt: skip
OF_KIND = {
    ("accuracy", "bce"): "BinaryAccuracy", ("accuracy", "cce"): "SparseCategoricalAccuracy",
    ("log_loss", "bce"): "BinaryCrossentropy", ("log_loss", "cce"): "SparseCategoricalCrossentropy",
}  # fmt: skip
"""Metrics that Keras has a class of for each kind of label."""


def compiled(model: ByMode) -> dict[str, Any] | None:
    """Arguments of Keras's `compile`, as data; None where Keras has no such objective."""
    losses: dict[str, Any] = {}
    weights: dict[str, float] = {}
    metrics: dict[str, list[Any]] = {}
    for loss in model.losses:
        if loss.label is None:  # a penalty: of the weights, not of a prediction
            continue
        prediction = next((p for p in model.predictions if p.label == loss.label), None)
        if prediction is None or loss.weight is not None or prediction.node in losses:
            return None
        if loss.kind not in LOSSES or not _made_of(model, prediction, loss.logit, LOSSES[loss.kind][1]):
            return None
        losses[prediction.node] = _object("losses", LOSSES[loss.kind][0])
        weights[prediction.node] = loss.coefficient
        metrics[prediction.node] = _metrics(model.train.metrics, loss.kind)
    if not losses or len(losses) != len(model.predictions):
        return None
    return {
        "optimizer": _optimizer(model),
        "loss": losses,
        "loss_weights": weights,
        "metrics": metrics,
    }


def _made_of(model: ByMode, prediction: Prediction, given: str | None, activation: str | None) -> bool:
    """Whether the prediction is what the loss reads, or the activation of it that Keras's loss undoes."""
    node = model.inference[prediction.node]
    return (
        prediction.node == given if activation is None else (node.op, node.inputs) == (activation, (given,))
    )


def _metrics(names: Sequence[str], kind: str) -> list[Any]:
    """Those that Keras has for a loss of this kind."""
    found = [(name, METRICS.get(name) or OF_KIND.get((name, kind))) for name in names]
    made = [_object("metrics", class_name, {"name": name}) for name, class_name in found if class_name]
    return made + [_object("metrics", "AUC", {"name": n, "curve": "PR"}) for n in names if n == "pr_auc"]


def _optimizer(model: ByMode) -> dict[str, Any]:
    """The optimizer of the weights that no pattern names, or the last: Keras has one for all weights."""
    train = model.train
    rule = next((rule for rule in train.optimizers if not rule.patterns), train.optimizers[-1])
    kind = OPTIMIZERS[rule.name]
    options = kind.filled(rule.options)
    own = {kind.keras_options.get(k, k): v for k, v in options.items() if k not in ("lr", "lazy")}
    clip = {"clipnorm": train.clip_norm, "clipvalue": train.clip_value}
    own |= {name: limit for name, limit in clip.items() if limit is not None}
    if kind.keras is None:  # another package's
        own = {name: limit for name, limit in own.items() if name in clip}
    return _object("optimizers", kind.keras or "SGD", {**own, "learning_rate": _rate(options["lr"])})


def _rate(given: Any) -> Any:
    """A rate, or a schedule that Keras has; of others the first rate."""
    if not isinstance(given, Mapping):
        return given
    options = SCHEDULES[given["schedule"]].filled(given["options"])
    if not isinstance(options["lr"], (int, float)):
        return _rate(options["lr"])
    match given["schedule"]:
        case "cosine":
            name, settings = "CosineDecay", {"decay_steps": options["steps"], "alpha": options["alpha"]}
        case "step":
            name = "ExponentialDecay"
            settings = {"decay_steps": options["every"], "decay_rate": options["factor"], "staircase": True}
        case _:
            return options["lr"]
    return _object("optimizers.schedules", name, {"initial_learning_rate": options["lr"], **settings})


def _object(module: str, class_name: str, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"module": f"keras.{module}", "class_name": class_name, "config": dict(config or {})}
