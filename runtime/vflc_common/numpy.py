"""numpy, imported when something is computed with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc_common.lazy import Lazy

__all__ = ["np"]

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")
