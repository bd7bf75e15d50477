"""An iterator that is read in a thread of its own, so that whoever waits for it can stop waiting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
AHEAD = 2
"""How many values lie ready at most."""
_END = object()


def in_time(make: Callable[[], Iterator[T]], seconds: float) -> Iterator[T]:
    """The values of `make()`; what that raises is raised here.

    A driver that waits for its server in C hears neither Ctrl-C nor a clock: it is left alone in its
    thread, which ends with the process or when the server answers.

    Raises:
        TimeoutError: the next value takes more than `seconds`.
    """
    values: queue.Queue[tuple[object, BaseException | None]] = queue.Queue(AHEAD)
    gone = threading.Event()

    def put(value: object, error: BaseException | None = None) -> None:
        while not gone.is_set():
            try:
                return values.put((value, error), timeout=0.2)
            except queue.Full:
                continue

    def work() -> None:
        try:
            iterator = make()
            for value in iterator:
                put(value)
                if gone.is_set():
                    break
            if hasattr(iterator, "close"):
                iterator.close()
            put(_END)
        except BaseException as error:
            put(_END, error)

    threading.Thread(target=work, daemon=True, name="vflc-source").start()
    try:
        while True:
            try:
                value, error = values.get(timeout=seconds)
            except queue.Empty:
                raise TimeoutError(f"no answer for {seconds:g} seconds") from None
            if error is not None:
                raise error
            if value is _END:
                return
            yield value  # type: ignore[misc]
    finally:
        gone.set()
