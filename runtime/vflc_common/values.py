"""Values of a column on their way through its encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc_common.arrow import pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vflc_common.numpy import np


class Values:
    """Values on their way through a chain.

    Args:
        flat: the values, null where missing; many-valued ones lie one after another.
        offsets: where many-valued, row i is flat[offsets[i]:offsets[i + 1]].
        unknown: after a lookup, which of the values it does not know.
        looked_up: what the lookup was given.
    """

    __slots__ = ("flat", "looked_up", "offsets", "unknown")

    def __init__(
        self,
        flat: pa.Array,
        offsets: NDArray[np.int64] | None = None,
        unknown: NDArray[np.bool_] | None = None,
        looked_up: pa.Array | None = None,
    ) -> None:
        self.flat, self.offsets, self.unknown, self.looked_up = flat, offsets, unknown, looked_up

    def with_flat(self, flat: pa.Array) -> Values:
        """The same rows with other values."""
        return Values(flat, self.offsets, self.unknown, self.looked_up)
