"""Types of arrays, for annotations: whoever names one imports no numpy for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
    Indices: TypeAlias = NDArray[np.int64]
    RowKeys: TypeAlias = NDArray[np.uint64]
    Words: TypeAlias = NDArray[np.uint64]
else:
    Array = Indices = RowKeys = Words = Any
