"""Keras in its own way: Embedding and Dense layers, `model.fit`, on TensorFlow."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from peers.rows import BUCKETS, FACTORS, MANY, SIZES, UNITS, WIDTHS, field_of

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.filterwarnings("ignore", "Protobuf gencode version", UserWarning)

Array = np.ndarray[Any, Any]


class Trainer:
    """See `Peer`; with `xla` the step is compiled, by TensorFlow or, on a GPU, by JAX."""

    def __init__(
        self,
        model: str,
        columns: Mapping[str, Array],
        labels: Array,
        batch: int,
        xla: bool = False,
        device: str = "cpu",
    ) -> None:
        if device != "cpu":  # whole float32 numbers in products, which XLA rounds on a GPU
            os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
            os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        self.x, self.y, self.batch = list(columns.values()), labels, batch
        self.model = MODELS[model](xla)

    def epoch(self, steps: int) -> float:
        """See `Peer`."""
        start, count = time.perf_counter(), steps * self.batch
        x = [x[:count] for x in self.x]
        self.model.fit(x, self.y[:count], batch_size=self.batch, epochs=1, verbose=0)
        return time.perf_counter() - start

    def take(self, weights: Mapping[str, Array]) -> None:
        """See `Peer`."""
        variables = self._variables()
        assert variables.keys() == weights.keys(), variables.keys() ^ weights.keys()
        for name, variable in variables.items():
            variable.assign(weights[name])

    def losses(self, batches: Sequence[Array]) -> Iterator[float]:
        """By `model.fit`, too, an epoch of one step for each, as they are asked for."""
        for rows in batches:
            fit = self.model.fit([x[rows] for x in self.x], self.y[rows], batch_size=len(rows), verbose=0)
            yield float(fit.history["loss"][0])

    def _variables(self) -> dict[str, Any]:
        """By their names in the spec: a table has its layer's, others that and `.kernel` or `.bias`."""
        return {
            layer.name if is_table(layer) else f"{layer.name}.{variable.name}": variable
            for layer in self.model.layers
            for variable in layer.weights
        }


def is_table(layer: Any) -> bool:
    """Whether a layer is a table; DeepFM's of zeros and ones is a kernel without bias here."""
    return hasattr(layer, "embeddings") or layer.name.endswith(f".{MANY}")


def mlp(name: str, value: Any, *widths: int) -> Any:
    """Layers with ReLU, named as the spec names them."""
    from keras import layers

    for index, width in enumerate(widths):
        value = layers.Dense(width, "relu", name=f"{name}.mlp.{index}")(value)
    return value


def deepfm(xla: bool = False) -> Any:
    """The model of `specs/deepfm`, on ids and a multi-hot genre vector; layers have the spec's names."""
    import keras
    from keras import layers, ops

    def given(field: str, size: int) -> Any:
        shape, dtype = ((size,), "float32") if field == MANY else ((), "int32")
        return keras.Input(shape, dtype=dtype, name=field)

    x = {(use, field): given(field, size) for use in SIZES for field, size in SIZES[use].items()}

    def embed(kind: str, width: int) -> list[Any]:
        return [
            layers.Dense(width, use_bias=False, name=f"{use}.{kind}.{field}")(given)
            if field == MANY
            else layers.Embedding(SIZES[use][field], width, name=f"{use}.{kind}.{field}")(given)
            for (use, field), given in x.items()
        ]

    e, first = embed("e", FACTORS), layers.Add()(embed("first", 1))
    v = layers.Add()(e)
    squares = ops.sum(ops.square(ops.stack(e, axis=1)), axis=(1, 2))[:, None]
    users = len(SIZES["a"])
    a = mlp("a.deep", layers.Concatenate()(e[:users]), 256, 32)
    b = mlp("b.deep", layers.Concatenate()(e[users:]), 256, 32)
    top = mlp("logit", layers.Concatenate()([a, b]), 256, 256, 32)
    square = ops.sum(ops.square(v), axis=1, keepdims=True)
    logit = first + 0.5 * (square - squares) + layers.Dense(1, name="logit.dense")(top)
    model = keras.Model([*x.values()], logit)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(summed(keras.optimizers.Adam)(0.001), loss, jit_compile=xla)
    return model


def summed(kind: Any) -> Any:
    """An optimizer of Keras, told to add up an embedding's gradients before it squares them.

    Those of Keras 3.15 on TensorFlow square the gradient of each id of a batch and add the squares up
    by row, where the square of the sum is due: rows that a batch reads more than once move otherwise
    than by the optimizer's definition. Adam takes the same time in both ways, to 4 %.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return kind
    import tensorflow as tf

    class Summed(kind):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(tf.convert_to_tensor(gradient), variable, learning_rate)

    return Summed


def wide_deep(xla: bool = False) -> Any:
    """Wide & Deep with DeepRec's sizes: Adagrad for the network, FTRL for the linear part."""
    import keras
    from keras import layers

    numbers = keras.Input((13,), name="numbers")
    x = {table: keras.Input((), dtype="int32", name=field_of(table)) for table in WIDTHS}
    e = [layers.Embedding(BUCKETS, WIDTHS[table], name=table)(ids) for table, ids in x.items()]
    first = [layers.Embedding(BUCKETS, 1, name=f"first.{field_of(table)}")(ids) for table, ids in x.items()]
    wide = layers.Add()([*first, layers.Dense(1, name="wide.dense")(numbers)])
    deep = mlp("deep", layers.Concatenate()([numbers, *e]), *UNITS)
    logit = wide + layers.Dense(1, name="deep.dense")(deep)
    model = two_optimizers()([numbers, *x.values()], logit)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    # Adagrad's rows are few of many: gradients stay those of the rows that a batch read, each once.
    model.wide = keras.optimizers.Ftrl(0.2)
    model.compile(keras.optimizers.Adagrad(0.01, 0.1), loss, jit_compile=xla)
    return model


def two_optimizers() -> Any:
    """A model whose weights named `first` and `wide` are trained by `model.wide`, the rest by its own."""
    import keras
    import tensorflow as tf

    def once(gradient: Any) -> Any:
        """The gradient with each row once, the sum of its own."""
        if not isinstance(gradient, tf.IndexedSlices):
            return gradient
        ids, places = tf.unique(gradient.indices)
        sums = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(ids))
        return tf.IndexedSlices(sums, ids, gradient.dense_shape)

    class TwoOptimizers(keras.Model):  # type: ignore[misc]
        wide: Any

        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, [v.value for v in self.trainable_variables])
            pairs = [*zip(map(once, gradients), self.trainable_variables, strict=True)]
            parts: dict[bool, list[Any]] = {True: [], False: []}
            for gradient, variable in pairs:
                linear = variable.path.startswith(("first.", "wide."))
                parts[linear].append((tf.convert_to_tensor(gradient) if linear else gradient, variable))
            self.wide.apply_gradients(parts[True])
            self.optimizer.apply_gradients(parts[False])
            self._loss_tracker.update_state(loss)
            return {"loss": self._loss_tracker.result()}

    return TwoOptimizers


MODELS = {"deepfm": deepfm, "wide_deep": wide_deep}
