"""`.keras` files whose bytes depend on the model alone."""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vflc.diagnostics import Diagnostic, Refused

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first instant that a zip archive can name."""


def import_keras() -> Any:
    """The module `keras` on TensorFlow.

    Raises:
        Refused: VFL0503, TensorFlow is not installed, or Keras is set to another backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _quiet():
            import keras
    except ImportError as missing:
        message = f"the Keras backend needs TensorFlow, which cannot be imported: {missing}"
        raise Refused([Diagnostic("VFL0503", message, None, "pip install 'vflc[keras]'")]) from None
    if keras.backend.backend() != "tensorflow":
        message = f"Keras runs on {keras.backend.backend()} here, and vflc needs it on TensorFlow"
        raise Refused([Diagnostic("VFL0503", message, None, "set KERAS_BACKEND=tensorflow")])
    return keras


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


def safe_name(value: str) -> str:
    """A value's id as a name that TensorFlow takes for a scope: ASCII, and no `/` or `>`."""
    name = re.sub(r"[^A-Za-z0-9_.-]", lambda found: f"-{ord(found[0]):x}", value)
    return name if re.match(r"[A-Za-z0-9.]", name) else f"v{name}"


def serialized(model: Any) -> bytes:
    """The model as the bytes of a `.keras` file, without the time and the place of its making."""
    with tempfile.TemporaryDirectory(prefix="vflc-") as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(parts["metadata.json"])
    metadata["date_saved"] = "1980-01-01@00:00:00"
    parts["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in parts.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, compresslevel=6)
    return content.getvalue()
