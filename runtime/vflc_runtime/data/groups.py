"""Columns by which metrics group rows: equal values become one number, and no two values the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vflc_runtime.data.chain import EncoderChain
from vflc_runtime.data.encoders import present


class GroupChain(EncoderChain):
    """Numbers the values of a column in the order in which they come; what is missing is a group, too."""

    _numbers: dict[Any, int]

    def encode(self, values: pa.Array, keys: pa.Array) -> NDArray[np.generic]:
        """A number for each row, int32 [n], of the values [n] of a block; `keys` [n] are not read."""
        if not hasattr(self, "_numbers"):
            self._numbers = {}
        encoded = present(values).dictionary_encode()
        known = self._numbers
        here = [known.setdefault(value, len(known)) for value in encoded.dictionary.to_pylist()]
        if encoded.indices.null_count:
            here.append(known.setdefault(None, len(known)))
        at = encoded.indices.fill_null(len(here) - 1).to_numpy(zero_copy_only=False)
        found: NDArray[np.int32] = np.array(here, np.int32)[at]
        return found
