"""What all tests need of the process that they run in."""

import functools
import os
import signal
from types import SimpleNamespace

from vflc_runtime.engines import keras_setup

# one BLAS thread a process: tests run in several, where waiting threads would spin for the cores
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# a shell ignores Ctrl-C for what it runs in the background, and tests that send it would wait for ever
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

imported = keras_setup._imported.__wrapped__


@functools.cache
def unoptimized() -> SimpleNamespace:
    """TensorFlow and Keras without Grappler, which works on a graph longer than a few steps take.

    Processes that tests start have it, as users do.
    """
    modules: SimpleNamespace = imported()
    modules.tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    return modules


keras_setup._imported = unoptimized
