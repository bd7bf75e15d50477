"""TensorFlow and Keras, imported once, quietly, and set to give the same numbers every time."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from types import SimpleNamespace
from typing import Any

from vflc_common.keras import NoKeras, import_keras

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
    try:
        keras = import_keras("the engine 'keras'")
    except NoKeras as missing:
        raise Failure("VFL0503", missing.message, f"{missing.help}, or use the engine 'onnx'") from None
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    tf.get_logger().setLevel("ERROR")  # it warns of every model that is made, and called a few times only
    return SimpleNamespace(tf=tf, keras=keras)
