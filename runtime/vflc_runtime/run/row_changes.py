"""Checkpoints of large tables hold the rows that have changed since the checkpoint before, and name it.

    step-…/PLACE/changed.safetensors  of each such weight its changed rows, ascending
    step-…/PLACE/rows.safetensors     these rows of the weight as it lies, and of its slots

Everything else is there as in any checkpoint. What such a checkpoint continues it says in its
checkpoint.json, `after`: the folder, and the SHA-256 of the checksums there. From the first, which has all
rows, each is put over the one before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Indices

from vflc_runtime import files
from vflc_runtime.tensors import AnyTensor, Tensors, taken, whole, with_rows

CHANGED, ROWS = "changed", "rows"
PROGRESS, AFTER = "checkpoint.json", "after"
LONGEST = 100
"""Checkpoints that follow one another before all rows are written again."""
SHARE = 0.5
"""Of what all rows take, what changes since may take together before all are written again."""
Kinds = Mapping[str, Mapping[str, AnyTensor] | Path]
ChangedRows = Mapping[str, Indices]
FoundTensors = dict[str, dict[str, dict[str, NDArray[Any]]]]
"""Of the files of a checkpoint alone: by place, kind and name."""
JoinedTensors = dict[str, dict[str, dict[str, AnyTensor]]]
"""Of all that it continues, too."""


class After(msgspec.Struct, frozen=True):
    """The checkpoint that one continues: its folder's name, and the SHA-256 of its file of checksums."""

    folder: str
    sums: str


def after(folder: Path) -> After | None:
    """What a checkpoint continues; None where it has all rows. ValueError where it says nothing sensible."""
    said = files.read_json(folder / PROGRESS, dict[str, Any]).get(AFTER)
    if said is None:
        return None
    try:
        found = msgspec.convert(said, After)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    if not re.fullmatch(r"step-\d{10,}-epoch-\d{5,}", found.folder) or found.folder >= folder.name:
        raise ValueError(f"{found.folder!r} is no checkpoint before {folder.name}")
    return found


def link_to(folder: Path) -> After:
    """What a checkpoint says that continues the one in `folder`."""
    return After(folder.name, hashlib.sha256((folder / files.SUMS).read_bytes()).hexdigest())


def chain(folder: Path) -> list[Path]:
    """A checkpoint and those that it continues, the latest first; OSError or ValueError where one is gone."""
    found = [folder]
    while (before := after(found[-1])) is not None:
        found.append(folder.with_name(before.folder))
    return found


def broken(folder: Path, whole: list[Path]) -> str | None:
    """Why what a checkpoint continues is not among the `whole` ones, in words; None where it is."""
    before = None
    with suppress(OSError, ValueError):  # who reads it says so
        before = after(folder)
    if before is None:
        return None
    path = folder.with_name(before.folder)
    if path not in whole:
        return f"{folder} has changes to {before.folder}, which is missing or damaged"
    if link_to(path) != before:
        return f"{folder} has changes to another {before.folder} than the one that is there"
    return None


def owner(kind: str, name: str) -> str | None:
    """The weight whose rows a tensor has, if its rows can be written apart."""
    if kind == "stored":
        return name
    return name.rpartition("/")[0] if kind == "slots" else None


def divided(kinds: Kinds, changed: ChangedRows) -> dict[str, Mapping[str, AnyTensor] | Path]:
    """What is written of a place: the changed rows of the weights named, and of what is kept for them."""
    found: dict[str, Mapping[str, AnyTensor] | Path] = {}
    rows: dict[str, AnyTensor] = {}
    for kind, tensors in kinds.items():
        if isinstance(tensors, Path):
            found[kind] = tensors
            continue
        whole: dict[str, AnyTensor] = {}
        for name, tensor in tensors.items():
            weight = owner(kind, name)
            if weight is not None and weight in changed and isinstance(tensor, np.ndarray):
                rows[name] = taken(tensor, changed[weight])
            else:
                whole[name] = tensor
        if whole or kind != "stored":
            found[kind] = whole
    return {**found, CHANGED: changed, ROWS: rows}


def size(kinds: Kinds) -> int:
    """Bytes of the tensors of a place, without those that are in a file already."""
    every = (tensors for tensors in kinds.values() if not isinstance(tensors, Path))
    return sum(tensor.nbytes for tensors in every for tensor in tensors.values())


def size_of(folder: Path) -> int:
    """The same of a checkpoint that was written."""
    return sum(f.stat().st_size for f in folder.glob("*/*.safetensors") if f.stem != "best")


def worth(places: Mapping[str, Kinds], changed: Mapping[str, ChangedRows], before: Path) -> bool:
    """Whether to write only the rows that changed since the checkpoint `before`."""
    try:
        sizes = [size_of(folder) for folder in chain(before)]
    except (OSError, ValueError):
        return False
    new = sum(size(divided(kinds, changed.get(place, {}))) for place, kinds in places.items())
    return len(sizes) < LONGEST and sum(sizes[:-1]) + new <= SHARE * sizes[-1]


def joined(links: Sequence[FoundTensors]) -> JoinedTensors:
    """What a checkpoint holds, made of its files and those of all that it continues, these in order.

    Raises:
        KeyError, ValueError: rows are changed that there are not.
    """
    found: JoinedTensors = {
        place: {kind: {**tensors} for kind, tensors in kinds.items()} for place, kinds in links[-1].items()
    }
    for place, kinds in found.items():
        names = {*kinds.get(CHANGED, {})}
        for kind in ("stored", "slots") if names else ():
            lying: dict[str, AnyTensor] = {}
            for name, tensor in links[0][place][kind].items():
                if owner(kind, name) in names:
                    own = [link[place] for link in links[1:]]
                    lying[name] = _changed(tensor, [_change(kind, name, each) for each in own])
            kinds[kind] = {**kinds.get(kind, {}), **lying}
    return {
        place: {kind: tensors for kind, tensors in kinds.items() if kind not in (CHANGED, ROWS)}
        for place, kinds in found.items()
    }


def _change(kind: str, name: str, kinds: Mapping[str, Tensors]) -> tuple[Indices, NDArray[Any]]:
    """Which rows of a tensor a checkpoint changes, and what they become."""
    return kinds[CHANGED][str(owner(kind, name))], kinds[ROWS][name]


def _changed(tensor: NDArray[Any], changes: Sequence[tuple[Indices, NDArray[Any]]]) -> AnyTensor:
    """A tensor with all changes; ValueError where one is of rows that there are not, or of another shape."""
    for at, rows in changes:
        fits = at.dtype == np.int64 and at.ndim == 1 and rows.dtype == tensor.dtype
        fits = fits and rows.shape == (len(at), *tensor.shape[1:])
        if not fits or (len(at) and (at[0] < 0 or at[-1] >= len(tensor) or (np.diff(at) <= 0).any())):
            raise ValueError("changed rows that there are not")
    made = with_rows(tensor, changes)
    return made if tensor.ndim > 1 else whole(made)
