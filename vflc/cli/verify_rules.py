"""The optimizers of a spec as `vflc verify` hands them to Keras: numbers, and a rate for every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc.ir.model import OptimizerRule
from vflc.ir.stages import Scheduled
from vflc.ops.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from vflc_runtime.verify import ModelOptimizers

BETA1, BETA2 = 0.9, 0.999
"""Up to that, and from that on, rows catch up with Adam to a ten-millionth of the movement."""


def unlike_keras(model: Scheduled) -> str | None:
    """Why Keras's own optimizers would not train the model as it says; None where they would."""
    train, tables = model.train, {update.optimizer for update in model.updates if update.pairs}
    if train.clip_norm is not None and train.clip_value is not None:
        return "Keras clips by norm or by value, not by both"
    for rule in train.optimizers:
        options = OPTIMIZERS[rule.name].filled(rule.options)
        if OPTIMIZERS[rule.name].keras is None:
            return f"Keras has no `{rule.name}`"
        if rule.id in tables and options.get("lazy"):
            return "`lazy = true` leaves rows alone that Keras updates"
        if (
            rule.id in tables
            and _close(rule)
            and not (options["beta1"] <= BETA1 and options["beta2"] >= BETA2)
        ):
            return f"rows catch up with `{rule.name}` to 1e-6 where beta1 <= {BETA1} and beta2 >= {BETA2}"
    return None


def keras_rules(model: Scheduled, steps: int) -> ModelOptimizers:
    """The optimizers for so many steps."""
    from vflc_runtime.verify import ModelOptimizers, OptimizerSettings

    from vflc.emit.onnx.update import rates

    train, tables = model.train, {update.optimizer for update in model.updates if update.pairs}
    clip = {"clipnorm": train.clip_norm, "clipvalue": train.clip_value}
    common: dict[str, Any] = {name: limit for name, limit in clip.items() if limit is not None}
    rules = {}
    for rule in train.optimizers:
        options = OPTIMIZERS[rule.name].filled(rule.options)
        own = {name: value for name, value in options.items() if name not in ("lr", "lazy")}
        penalty = (rule.penalty.l1, rule.penalty.l2)
        kind = OPTIMIZERS[rule.name]
        named = {kind.keras_options.get(name, name): value for name, value in own.items()} | common
        assert kind.keras is not None, "`unlike_keras` has said so"
        rules[rule.id] = OptimizerSettings(kind.keras, named, rates(options["lr"], steps), *penalty)
    return ModelOptimizers(rules, not any(_close(rule) and rule.id in tables for rule in train.optimizers))


def _close(rule: OptimizerRule) -> bool:
    """Whether rows catch up by a sum that is close, not exact; with a penalty they go through all steps."""
    return OPTIMIZERS[rule.name].close and not rule.penalty
