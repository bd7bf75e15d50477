"""Matrix products alone, by numpy's BLAS: what a step or a prediction would take that did nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
from vflc_runtime.blas import one_thread

Array = np.ndarray[Any, Any]
Product = tuple[Array, Array, Array]
"""Two matrices, and where their product goes."""


def seconds(products: Sequence[Product], times: int) -> tuple[float, float]:
    """Wall and CPU seconds of all of them, so many times; a thread for each core, and each product on one.

    BLAS's own threads wait for one another by spinning, which on a busy machine takes longer than the work.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPool(cores) as pool, one_thread():
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            pool.map(_multiply, products, 1)
        return time.perf_counter() - wall, time.process_time() - cpu


def _multiply(product: Product) -> None:
    a, b, out = product
    np.matmul(a, b, out=out)
