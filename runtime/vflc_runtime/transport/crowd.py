"""Streams of many, of which so many are held: who comes in numbers makes room, and not who comes alone."""

from __future__ import annotations

from collections import Counter
from threading import Lock

from vflc_runtime.transport.plain import Stream


class Crowd:
    """At most `most` streams. One more closes the oldest of those who have the most of them."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._of: dict[Stream, str] = {}  # in the order in which they came

    def add(self, stream: Stream, of: str) -> None:
        """Holds a stream under the name of whose it is."""
        with self._lock:
            self._of[stream] = of
            if len(self._of) <= self._most:
                return
            ((busiest, _),) = Counter(self._of.values()).most_common(1)
            oldest = next(each for each, name in self._of.items() if name == busiest)
            del self._of[oldest]
        oldest.close()

    def discard(self, stream: Stream) -> None:
        """Holds it no more."""
        with self._lock:
            self._of.pop(stream, None)
