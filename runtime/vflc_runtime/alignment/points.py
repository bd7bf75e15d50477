"""Keys as points of the curve P-256 under a secret of their party, by OpenMined's PSI library.

Diffie-Hellman private set intersection (Meadows 1986; Ion et al., "On Deploying Secure Computing",
EuroS&P 2020): points under both secrets are equal where keys are, and a point under a secret that
one does not know says nothing about its key. The library computes; what travels are bare points,
so that nothing but their number and their length needs to be parsed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vflc_common.control import POINT

from vflc_runtime.alignment.exchange import wrong
from vflc_runtime.cores import cores
from vflc_runtime.errors import Failure

OnPiece = Callable[[int, int], None]
PIECE = 1024
"""Points that a thread computes at a time: 40 to 60 ms."""


def library() -> ModuleType:
    """The module that computes; VFL0665 where it is not installed."""
    try:
        import private_set_intersection.python as found
    except Exception as error:  # protobuf refuses a runtime that is too old by an error of its own
        raise Failure(
            "VFL0665",
            f"private set intersection is not installed: {error}",
            "pip install 'vflc[psi]' at every party, or align by another method",
        ) from None
    module: ModuleType = found
    return module


class PointThreads:
    """Threads that compute. The library lets go of the interpreter; an object of it serves one thread."""

    def __init__(self, threads: int | None) -> None:
        self.psi = library()
        self.threads = threads or cores()
        self._pool = ThreadPoolExecutor(self.threads, "alignment")

    def __enter__(self) -> PointThreads:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._pool.submit(work, *arguments)

    def pieces(
        self, work: Callable[[Sequence[bytes]], Sequence[bytes]], items: Sequence[bytes], report: OnPiece
    ) -> list[bytes]:
        """What `work` makes of all items, piece by piece, in their order."""
        starts = range(0, len(items), PIECE)
        futures = [self._pool.submit(work, items[start : start + PIECE]) for start in starts]
        made: list[bytes] = []
        for future in futures:
            made += future.result()
            report(len(made), len(items))
        return made


class ThreadLocalSecret:
    """A secret, and an object of the library with it for each thread: making one takes 5 ms."""

    def __init__(self, kind: Any) -> None:
        self._kind, self._own = kind, threading.local()
        self._secret = kind.CreateWithNewKey(True).GetPrivateKeyBytes()

    def __call__(self) -> Any:
        if not hasattr(self._own, "made"):
            self._own.made = self._kind.CreateFromKey(self._secret, True)
        return self._own.made


class PsiClient:
    """The side that learns which of its keys the other has.

    Args:
        pool: who computes.
        texts: the keys that are asked for.
        report: is told how many points are done.
    """

    def __init__(self, pool: PointThreads, texts: Sequence[bytes], report: OnPiece) -> None:
        self._pool, self._psi = pool, pool.psi
        # A secret a peer: two peers together cannot follow a key through both intersections.
        self._client = ThreadLocalSecret(self._psi.client)
        points = pool.pieces(self._hide, texts, report)
        self._order = sorted(range(len(points)), key=points.__getitem__)
        self.points = b"".join(points[i] for i in self._order)

    def _hide(self, texts: Sequence[bytes]) -> Sequence[bytes]:
        found: Sequence[bytes] = self._client().CreateRequest(texts).encrypted_elements
        return found

    def compare(self, setup: Any, answers: Sequence[bytes], first: int, peer: str) -> NDArray[np.int64]:
        """Which keys are among those of `setup`; VFL0662 where the answers are no points.

        Args:
            setup: see `read_setup`.
            answers: what the peer made of `points`, from point `first` on.
            first: see `answers`.
            peer: who answered.

        Returns:
            Indices into the `texts`.
        """
        response = self._psi.Response()
        response.encrypted_elements.extend(answers)
        try:
            found = self._client().GetIntersection(setup, response)
        except RuntimeError:
            raise no_points(peer) from None
        return np.array([self._order[first + index] for index in found], dtype=np.int64)


class PsiServer:
    """The side that learns no more than how many keys the other asks for."""

    def __init__(self, pool: PointThreads, texts: Sequence[bytes], report: OnPiece) -> None:
        self._pool, self._psi = pool, pool.psi
        self._server = ThreadLocalSecret(self._psi.server)
        # Sorted, points say nothing about the order of the keys.
        self.setup = b"".join(sorted(pool.pieces(self._hide, texts, report)))

    def _hide(self, texts: Sequence[bytes]) -> Sequence[bytes]:
        # The other structures are smaller, and take some keys for common that are not.
        raw = self._psi.DataStructure.RAW
        found: Sequence[bytes] = self._server().CreateSetupMessage(1.0, 1, texts, raw).raw.encrypted_elements
        return found

    def answer(self, block: bytes, peer: str) -> bytes:
        """The points of `block` under this side's secret as well; VFL0662 where they are none."""

        def hide(points: Sequence[bytes]) -> Sequence[bytes]:
            request = self._psi.Request(reveal_intersection=True, encrypted_elements=points)
            found: Sequence[bytes] = self._server().ProcessRequest(request).encrypted_elements
            return found

        try:
            return b"".join(self._pool.pieces(hide, split(block), lambda done, total: None))
        except RuntimeError:
            raise no_points(peer) from None


def no_points(peer: str) -> Failure:
    """VFL0662 where the library cannot read what a peer sent."""
    return wrong(peer, "it sent bytes that are not points of the curve")


def split(block: bytes) -> list[bytes]:
    """The points of a message."""
    return [block[start : start + POINT] for start in range(0, len(block), POINT)]


def read_setup(pool: PointThreads, points: Sequence[bytes]) -> Any:
    """A peer's keys as the library reads them."""
    setup = pool.psi.ServerSetup()
    setup.raw.encrypted_elements.extend(points)
    return setup
