"""An optimizer on TensorFlow: its models, called on tensors by name, and what rows missed."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import Optimizer, Plan
from vflc_runtime.bundle.plan_rows import CatchUp
from vflc_runtime.engines.keras_models import call_model, load_model
from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.engines.keras_xla import by_xla
from vflc_runtime.engines.missed import History
from vflc_runtime.engines.replay import replay


class KerasOptimizer:
    """The models of an optimizer, called on tensors by name, and its history."""

    def __init__(self, plan: Plan, optimizer: Optimizer) -> None:
        self._tf = tensorflow().tf
        self._plan, self._graph, self.late = plan, optimizer.graph, optimizer.catch_up
        graphs = [self._graph]
        if isinstance(self.late, CatchUp):
            graphs += [self.late.graph, *([self.late.series] if self.late.series else [])]
        self._calls = {
            name: _function(_Model(plan.graph_content(name), plan.graph_path(name))) for name in graphs
        }
        self.slots = optimizer.slots
        self.clip_norm = optimizer.clip_norm
        if isinstance(self.late, CatchUp):
            self.history = History(self.late.missed, self._series if self.late.series else None)

    def of_size(self, size: int) -> KerasOptimizer:
        """The same for weights of that many numbers alone: by XLA, which compiles it once, where wanted."""
        found, call = copy(self), self._calls[self._graph]
        shapes = [(size,) if each.shape.rank else () for each in call.input_signature]
        zeros = [self._tf.zeros(n, each.dtype) for n, each in zip(shapes, call.input_signature, strict=True)]
        found._calls = {**self._calls, self._graph: by_xla(f"the optimizer {self._graph!r}", call, zeros)}
        return found

    def _run(self, graph: str, given: dict[str, Any]) -> dict[str, Any]:
        entry = self._plan.graphs[graph]
        made = self._calls[graph](*(given[name] for name in entry.inputs))
        return dict(zip(entry.outputs, made, strict=True))

    def _series(self, steps: Array) -> dict[str, Array]:
        assert isinstance(self.late, CatchUp)
        made = self._run(str(self.late.series), {"step": self._tf.constant(steps)})
        return {name: value.numpy() for name, value in made.items()}

    def new(self, given: dict[str, Any]) -> dict[str, Any]:
        """The new weight and slots by name, along one axis."""
        return {name.removeprefix("new."): v for name, v in self._run(self._graph, given).items()}

    def caught_up(self, given: dict[str, Any], last: Array, step: int) -> dict[str, Any]:
        """Rows [n, k] of a weight and its slots, last updated in steps `last` [n], after `step` steps."""
        if not isinstance(self.late, CatchUp):
            return self._replayed(given, last, step)
        numbers = self.history.numbers(last, step, self._plan.precision)
        names = [f"missed.{each.name}" for each in self.late.missed]
        missed = {name: self._tf.constant(numbers[:, [i]]) for i, name in enumerate(names)}
        made = self._run(self.late.graph, {**given, **missed})
        return {name.removeprefix("new."): value for name, value in made.items()}

    def _replayed(self, given: dict[str, Any], last: Array, step: int) -> dict[str, Any]:
        """The same where rows go through the steps themselves."""
        tf, width = self._tf, given["weight"].shape[1]
        found = {name: tf.Variable(value) for name, value in given.items()}
        for block in replay(np.arange(len(last)), last, step, len(last)):
            parts = {name: tf.reshape(tf.gather(part, block.rows), (-1,)) for name, part in found.items()}
            for count, first, end in block.steps:
                numbers = count * width
                now = {name: part[:numbers] for name, part in parts.items()}
                nothing = tf.zeros_like(now["weight"])
                for each in range(first, end + 1):
                    at = tf.constant(each, self._plan.precision)
                    now = self.new({**now, "gradient": nothing, "step": at})
                parts = {name: tf.concat([now[name], part[numbers:]], 0) for name, part in parts.items()}
            for name, part in parts.items():
                found[name].scatter_update(tf.IndexedSlices(tf.reshape(part, (-1, width)), block.rows))
        return {name: part.value() for name, part in found.items()}

    def clipped(self, gradient: Any) -> Any:
        """The gradient of one weight, its norm at most what the plan allows."""
        if self.clip_norm is None:
            return gradient
        tf = self._tf
        norm = tf.sqrt(tf.reduce_sum(tf.square(tf.cast(gradient, tf.float64))))
        limit = tf.constant(self.clip_norm, tf.float64)
        factor = tf.where(norm > limit, limit / norm, tf.ones((), tf.float64))
        return gradient * tf.cast(factor, gradient.dtype)


@dataclass(frozen=True)
class _Model:
    """A model without weights: its file's bytes, and where they lay, for messages."""

    content: bytes
    path: Path = field(compare=False)


@lru_cache(maxsize=64)
def _function(of: _Model) -> Any:
    """A model as a function of tensors whose sizes it does not know, one for all that train by the same rule.

    Where they are known Keras 3 takes [n, 1] that is added to [n, n] for a bias, and adds it to columns.
    """
    tf, model = tensorflow().tf, load_model(of.content, of.path)
    signature = [tf.TensorSpec(each.shape, each.dtype) for each in model.inputs]
    return tf.function(lambda *x: call_model(model, list(x)), autograph=False, input_signature=signature)
