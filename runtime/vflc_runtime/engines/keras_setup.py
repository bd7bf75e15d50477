"""TensorFlow and Keras, imported once, quietly, and set to give the same numbers every time."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vflc_runtime.errors import Failure


def tensorflow(threads: int | None = None) -> Any:
    """A namespace of the modules `tf` and `keras`.

    Args:
        threads: threads inside an operator. They hold for the whole process and cannot change once
            TensorFlow has run anything, so that later wishes are not heard.

    Raises:
        Failure: VFL0503, TensorFlow is not installed, or Keras is set to another backend.
    """
    modules = _imported()
    if threads is not None:
        with suppress(RuntimeError):
            modules.tf.config.threading.set_intra_op_parallelism_threads(threads)
    return modules


@cache
def _imported() -> SimpleNamespace:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _quiet():
            import keras
            import tensorflow as tf
    except ImportError as missing:
        raise Failure(
            "VFL0503",
            f"the engine 'keras' needs TensorFlow, which cannot be imported: {missing}",
            "pip install 'vflc[keras]', or use the engine 'onnx'",
        ) from None
    if keras.backend.backend() != "tensorflow":
        raise Failure(
            "VFL0503",
            f"Keras runs on {keras.backend.backend()} here, and the engine 'keras' needs it on TensorFlow",
            "set KERAS_BACKEND=tensorflow",
        )
    tf.config.experimental.enable_op_determinism()
    tf.get_logger().setLevel("ERROR")  # it warns of every model that is made, and called a few times only
    return SimpleNamespace(tf=tf, keras=keras)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what TensorFlow's libraries say while they load, and protobuf of each file later, from people."""
    warnings.filterwarnings("ignore", "Protobuf gencode version", UserWarning)
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
