"""The first values of weights that files of other tools give, as the compiler took them out of these."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load
from vflc_common.arrays import Array
from vflc_common.words import FIRST_FILE

from vflc_runtime.bundle.contents import Contents
from vflc_runtime.bundle.reading import damaged


def read_first(contents: Contents) -> dict[str, Array]:
    """What a place's file holds, [*] each, by the names of weights; nothing where there is none.

    Raises:
        Failure: VFL0613, it is no file of tensors.
    """
    if FIRST_FILE not in contents.files:
        return {}
    try:
        return load(contents.read(FIRST_FILE))
    except (SafetensorError, ValueError, KeyError) as error:
        raise damaged(f"{contents.folder / FIRST_FILE} cannot be read: {error}") from None


def first_of(first: Mapping[str, Array], name: str, shape: tuple[int, ...]) -> Array:
    """The first value of a weight, [*shape]; VFL0613 where there is none that fits it."""
    found = first.get(name)
    if found is None or found.shape != shape or found.dtype.kind != "f" or not np.isfinite(found).all():
        raise damaged(f"{FIRST_FILE} has no first value for weight {name!r} of shape {list(shape)}")
    return found
