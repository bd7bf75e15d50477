"""What all tests need of the process that they run in."""

import functools
import gc
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from order import turn
from vflc_runtime.engines import keras_setup

# one BLAS thread a process: tests run in several, where waiting threads would spin for the cores
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# what must outlive a power cut need not here: a disk takes longer to say so than most tests take
os.fsync = lambda descriptor: None
# a shell ignores Ctrl-C for what it runs in the background, and tests that send it would wait for ever
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# examples that are drawn slowly tell of a busy machine only
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

HERE = Path(__file__).parent
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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: in a tenth of their time tests wait, for peers, clocks and processes."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Each worker collects all tests, and begins elsewhere: what one has compiled the next reads."""
    worker = getattr(config, "workerinput", None)
    if worker and config.args == ["tests"]:
        folders = sorted(f"tests/{path.name}" for path in HERE.iterdir() if any(path.glob("test_*.py")))
        first = len(folders) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        config.args = folders[first:] + folders[:first]


def pytest_collection_finish() -> None:
    """What all tests of this process need stays as long as it does: no search for garbage looks at it.

    Python searches each time that there are 700 new objects more, which takes 6 % of the time of all tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


EXAMPLES = int(os.environ.get("EXAMPLES", "1"))
"""How many times as many examples of each property are tried as stand at its test."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: turn(item.path))  # wherever it began
    tests: dict[int, Any] = {id(test): test for item in items if (test := getattr(item, "function", None))}
    for test in tests.values():
        if EXAMPLES > 1 and getattr(test, "is_hypothesis_test", False):
            given = getattr(test, "_hypothesis_internal_use_settings", None) or settings()
            more = settings(given, max_examples=EXAMPLES * given.max_examples)
            test._hypothesis_internal_use_settings = more
