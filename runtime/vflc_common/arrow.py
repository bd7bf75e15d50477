"""pyarrow, imported when something is computed with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc_common.lazy import Lazy

__all__ = ["pa", "pc"]

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
else:
    pa, pc = Lazy("pyarrow"), Lazy("pyarrow.compute")
