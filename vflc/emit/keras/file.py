"""`.keras` files whose bytes depend on the model alone."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from vflc_common.keras import NoKeras
from vflc_common.keras import import_keras as imported

from vflc.diagnostics import Diagnostic, Refused

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first instant that a zip archive can name."""


def import_keras() -> Any:
    """The module `keras` on TensorFlow.

    Raises:
        Refused: VFL0503, TensorFlow is not installed, or Keras is set to another backend.
    """
    try:
        return imported("the Keras backend")
    except NoKeras as missing:
        raise Refused([Diagnostic("VFL0503", missing.message, None, missing.help)]) from None


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
