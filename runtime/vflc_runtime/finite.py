"""Numbers that are not finite go no further: not to a peer, not into a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.errors import PEER, Failure

_EXTREME = "look for extreme numbers in the data"
_CALMER = f"lower the learning rate or clip gradients, and {_EXTREME}"


class NotFinite(Failure):
    """VFL0611: something that was computed here is not finite. `what` says it without the step."""

    def __init__(self, what: str, more: str = "", training: bool = True, help: str | None = None) -> None:
        super().__init__("VFL0611", f"{what}{more}", help or (_CALMER if training else _EXTREME))
        self.what = what


def finite(array: NDArray[Any]) -> bool:
    """Whether all numbers of an array [*] are finite; one that lies on a device has been asked already.

    The product with itself, one pass without a copy, is finite for almost all arrays whose numbers
    are; where it is not, a number may be that large, and each is looked at.
    """
    if array.dtype.kind != "f":
        return True
    known: bool | None = getattr(array, "is_finite", None)
    if known is not None:
        return known
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def check_received(edge: str, sender: str, place: str, step: int, array: NDArray[Any]) -> None:
    """VFL0611 where a peer sent an array [*] with a number that is not finite."""
    if not finite(array):
        bad = array[~np.isfinite(array)]
        raise Failure(
            "VFL0611",
            f"{place!r} refused what {sender!r} sent: edge {edge!r} at step {step} has {bad.size} of "
            f"{array.size} numbers that are not finite, the first is {bad[0]}",
            f"see what {sender!r} printed for the reason; then continue with --resume at all parties",
            exit_code=PEER,
        )


def check_kept(place: str, kinds: Mapping[str, Mapping[str, NDArray[Any]]], step: int) -> None:
    """VFL0611 where a weight [*], or what is kept for one, is not finite: such numbers are never saved.

    Args:
        place: for messages.
        kinds: by kind and name.
        step: steps done so far.
    """
    for tensors in kinds.values():
        for name, array in tensors.items():
            if not finite(array):
                raise NotFinite(f"{name!r} at {place!r} is not finite after step {step}: training diverged")
