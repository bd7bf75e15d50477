"""Linear algebra of numpy whose last bits do not depend on how many threads it may use.

BLAS divides a product among its threads, and rounds otherwise where it does. What is trained with is
computed on one: the matrices are small.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Gives the BLAS of this process one thread, for as long as the context lasts."""
    found: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return found
