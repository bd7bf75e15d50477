"""Labels that were drawn once stay drawn: what a party keeps of randomised response over runs.

    LEDGER/PARTY-draws-NAME.safetensors   keys of rows, their labels, and what was drawn for each

A label that each run draws anew is found by a vote over runs. Draws therefore belong to a table, not to
a run: rows that were drawn before with the same label get the same draw, new rows get new ones. A
table in which a row that was drawn has another label now is another table: all of it is drawn
anew, and counts besides. So draws of one table never answer for another whose keys are the same.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import RowKeys

from vflc_runtime import files
from vflc_runtime.bundle.plan_guards import Guard
from vflc_runtime.errors import Failure
from vflc_runtime.protect.noise import Noise

Drawn = dict[str, NDArray[np.int64]]
"""By draw, counted from 0, a number for each row."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of some rows that a guard answers for.

    Args:
        guard: with its draws.
        keys: of the rows, as numbers.
        values: their labels.
    """

    guard: Guard
    keys: RowKeys
    values: NDArray[np.float64]

    @property
    def about(self) -> dict[str, str]:
        """What draws must be of to be these: the label, and how it is answered."""
        how = [[draw.keep, draw.classes] for draw in self.guard.draws]
        prior = [float(share) for share in self.guard.options.get("prior") or ()]
        return {"label": str(self.guard.reads), "how": json.dumps([how, prior])}


class Draws:
    """The draws of one party in a folder, which is locked while they are at work."""

    def __init__(self, folder: Path, party: str, noise: Noise | None = None) -> None:
        self.folder, self.party, self._noise = folder, party, noise or Noise()

    def name(self, labels: Labels) -> str:
        """The draws of these labels, drawn where they are not yet, by their name.

        Raises:
            Failure: VFL0685, what is kept cannot be read; VFL0612, it cannot be written.
        """
        kept = {"keys": np.zeros(0, np.uint64), "labels": np.zeros(0)}
        name = secrets.token_hex(8)
        for path in sorted(self.folder.glob(f"{self.party}-draws-*.safetensors")):
            found, about = self._read(path)
            if about == labels.about and _is_of(found, labels):
                kept, name = found, path.stem.rpartition("-")[2]
                break
        new = ~np.isin(labels.keys, kept["keys"])
        if new.any():
            drawn = {
                str(index): self._noise.shifts(int(new.sum()), draw.keep, draw.classes)
                for index, draw in enumerate(labels.guard.draws)
            }
            more = {"keys": labels.keys[new], "labels": labels.values[new], **drawn}
            whole = {key: np.concatenate([kept.get(key, part[:0]), part]) for key, part in more.items()}
            order = np.argsort(whole["keys"])
            self._write(name, {key: part[order] for key, part in whole.items()}, labels.about)
        return name

    def of(self, name: str, labels: Labels) -> Drawn:
        """What was drawn for these rows, in their order; VFL0686 where it is not kept."""
        path = self._file(name)
        found, about = self._read(path) if path.exists() else ({}, {})
        if (
            about != labels.about
            or not np.isin(labels.keys, found["keys"]).all()
            or not _is_of(found, labels)
        ):
            raise Failure(
                "VFL0686",
                f"the ledger {self.folder} has no entry for the draws of {labels.guard.reads} in this run",
                "restore the ledger from a copy: it no longer knows what rows have cost",
            )
        at = np.searchsorted(found["keys"], labels.keys)
        return {str(index): found[str(index)][at] for index in range(len(labels.guard.draws))}

    def _file(self, name: str) -> Path:
        return self.folder / f"{self.party}-draws-{name}.safetensors"

    def _read(self, path: Path) -> tuple[dict[str, NDArray[Any]], Mapping[str, str]]:
        try:
            files.check_secret(path)
            tensors, about = files.read_tensors(path)
            keys = tensors["keys"]
            kinds = {"keys": np.dtype("u8"), "labels": np.dtype("f8")}
            good = all(x.dtype == kinds.get(name, np.dtype("i8")) for name, x in tensors.items())
            good = good and all(x.shape == (len(keys),) == tensors["labels"].shape for x in tensors.values())
            good = good and bool((keys[:-1] < keys[1:]).all())
        except (KeyError, TypeError) as error:
            raise self._damaged(path, str(error)) from None
        except Failure as failure:
            if failure.code != "VFL0621":
                raise
            raise self._damaged(path, failure.message.partition(": ")[2]) from None
        if not good:
            raise self._damaged(path, "these are not draws")
        return tensors, about

    def _write(self, name: str, tensors: Mapping[str, NDArray[Any]], about: Mapping[str, str]) -> None:
        path = self._file(name)
        new = path.with_name(f".{path.name}.new")
        with files.writing(path):
            files.write_tensors(new, tensors, about)
            new.replace(path)
            files.sync(path.parent)

    def _damaged(self, path: Path, why: str) -> Failure:
        return Failure(
            "VFL0685",
            f"the draws {path} cannot be read: {why}",
            "restore them from a copy: labels drawn again would reveal more by majority vote",
        )


def _is_of(kept: Mapping[str, NDArray[Any]], labels: Labels) -> bool:
    """Whether some rows are of both, and all of these have the label that they were drawn with."""
    common = np.isin(labels.keys, kept["keys"])
    at = np.searchsorted(kept["keys"], labels.keys[common])
    return bool(common.any()) and bool((kept["labels"][at] == labels.values[common]).all())
