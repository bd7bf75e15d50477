"""Models as text that depends on the model alone."""

from __future__ import annotations

import json
import re
from typing import Any

from vflc_common.keras import NoKeras
from vflc_common.keras import import_keras as imported

from vflc.diagnostics import Diagnostic, Refused


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
    """The model as Keras's JSON, without weights: `keras.models.model_from_json` makes it again."""
    return json.dumps(json.loads(model.to_json()), sort_keys=True).encode()
