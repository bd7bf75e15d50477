"""Keras on TensorFlow, imported quietly."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class NoKeras(Exception):
    """Keras cannot be used.

    Args:
        message: why, as the end of a sentence.
        help: what to do next.
    """

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.message, self.help = message, help


def import_keras(who: str) -> Any:
    """The module `keras`, on TensorFlow.

    Args:
        who: needs it, for the message.

    Raises:
        NoKeras: TensorFlow is not installed, or Keras is set to another backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet():
            import keras
    except ImportError as missing:
        message = f"{who} needs TensorFlow, which cannot be imported: {missing}"
        raise NoKeras(message, "pip install 'vflc[keras]'") from None
    if keras.backend.backend() != "tensorflow":
        message = f"Keras runs on {keras.backend.backend()} here, and {who} needs it on TensorFlow"
        raise NoKeras(message, "set KERAS_BACKEND=tensorflow")
    return keras


@contextmanager
def quiet() -> Iterator[None]:
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
