"""One BLAS thread a process: tests run in several, where waiting threads would spin for the cores."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
