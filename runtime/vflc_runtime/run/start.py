"""Initial weights that only their own place knows: `train { secret_start true }`.

    RUN/PLACE/start.key   what they are drawn from, readable for its owner alone

Weights that follow from the seed are known to every party before the first step, and with them the
function that made the first activations. Drawn from a key of the place's own they are not; the key
is kept, so that a run which is killed before its first checkpoint begins with the same weights.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from vflc_runtime import files
from vflc_runtime.engines.engine import Engine
from vflc_runtime.engines.initial import first_value
from vflc_runtime.errors import Failure

FILE = "start.key"


def begin(run: Path, engines: Mapping[str, Engine]) -> dict[str, str]:
    """Gives each place's weights first values from its own key, which is made where there is none.

    Returns:
        The keys by place.

    Raises:
        Failure: VFL0612 where the key cannot be written, VFL0621 where it cannot be read.
    """
    keys: dict[str, str] = {}
    for place, engine in engines.items():
        plan = engine.plan
        keys[place] = key = _key(run / place / FILE)
        engine.load({
            weight.name: first_value(key, weight, plan.precision)
            for weight in plan.weights.values()
        })  # fmt: skip
    return keys


def _key(path: Path) -> str:
    """The key in a file, or a new one that is put there: whole or not at all."""
    with suppress(FileNotFoundError):
        key = path.read_text("utf-8")
        if not re.fullmatch(r"[0-9a-f]{64}", key):
            raise Failure("VFL0621", f"{path} does not contain a key", "start again in another folder")
        return key
    key, new = secrets.token_hex(32), path.with_name(f".{FILE}.new")
    with files.writing(path):
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        files.sync(path.parent)
    return key
