"""What all tests need of the process that they run in."""

import os
import signal

# one BLAS thread a process: tests run in several, where waiting threads would spin for the cores
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# a shell ignores Ctrl-C for what it runs in the background, and tests that send it would wait for ever
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
