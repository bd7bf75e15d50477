"""Results that are kept, so that a run that goes on need not align again."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vflc_runtime import files
from vflc_runtime.alignment.keys import SortedKeys
from vflc_runtime.errors import Failure

FORMAT = "1"


@dataclass(frozen=True, slots=True)
class Kept:
    """The alignment of one table with the same peers by the same method.

    Its token is one that all parties got in that alignment: where all have the same, no table has
    changed since. The name of the file tells this table from others, and never leaves this party.

    Args:
        path: the file, whether it is there or not.
        token: 32 bytes; None where nothing is kept.
        positions: rows in the common order.
    """

    path: Path
    token: bytes | None = None
    positions: NDArray[np.int64] | None = None

    @classmethod
    def open(cls, folder: Path, method: str, place: str, peers: tuple[str, ...], keys: SortedKeys) -> Kept:
        """What is kept for these keys; a file that cannot be used is as none."""
        seen = hashlib.sha256("\0".join((FORMAT, method, place, *sorted(peers), "")).encode())
        seen.update(keys.fingerprint())
        path = folder / f"{seen.hexdigest()[:32]}.safetensors"
        with suppress(Failure, KeyError, ValueError):
            tensors, metadata = files.read_tensors(path)
            token, positions = bytes.fromhex(metadata["token"]), tensors["positions"]
            if len(token) == 32 and _possible(positions, len(keys)):
                return cls(path, token, positions)
        return cls(path)

    def save(self, token: bytes, positions: NDArray[np.int64]) -> None:
        """Keeps a result, `positions` [rows]; VFL0612 where the disk refuses."""
        with files.writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = self.path.with_name(f".{self.path.name}.new")
            files.write_tensors(new, {"positions": positions}, {"token": token.hex()})
            new.replace(self.path)
            files.sync(self.path.parent)


def _possible(positions: NDArray[np.int64], rows: int) -> bool:
    if positions.dtype != np.int64 or positions.ndim != 1 or not 0 < len(positions) <= rows:
        return False
    return bool(positions.min() >= 0 and positions.max() < rows)
