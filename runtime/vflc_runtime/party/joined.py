"""One place on a network: how a session runs on it, and what it means that a peer has left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from vflc_runtime.alignment.settings import FOUND_BY_ALL
from vflc_runtime.data.held_out import CODE as HELD_OUT_WRONG
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.interrupts import Interrupted
from vflc_runtime.transport.channel import Channel
from vflc_runtime.transport.local import Routine
from vflc_runtime.transport.network import Ended, Network, Reason, Restarted


class Joined:
    """The transport of a session that has one place; see `session.Transport`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def channel(self, place: str) -> Channel:
        return self._network

    def run(self, routines: Mapping[str, Routine]) -> None:
        for routine in routines.values():
            for _ in routine:
                raise AssertionError("a network waits by itself")

    def clear(self) -> None:
        """What is under way is dropped by `Network.renew`."""


@contextmanager
def attending(network: Network, resumes: bool) -> Iterator[None]:
    """Opens the network, and leaves it with the reason that fits how the work inside ended.

    What to do where a peer has left, depends on whether the work `resumes` from where it was.
    """
    reason: Reason = "failed"
    try:
        network.open()
        yield
        reason = "done"
    except Ended as ended:
        reason = "interrupted" if ended.reason == "interrupted" else "failed"
        raise left(ended, resumes) from None
    except (KeyboardInterrupt, Interrupted):
        reason = "interrupted"
        raise
    except Failure as failure:
        # Both sides find the difference by themselves, and each is to say which it is.
        found = failure.code in ("VFL0650", "VFL0651", HELD_OUT_WRONG, *FOUND_BY_ALL)
        reason = "done" if found else reason
        raise
    finally:
        _leave(network, reason)


def _leave(network: Network, reason: Reason) -> None:
    """Closes the network. What a peer does meanwhile changes nothing: all that counts is said before."""
    try:
        network.close(reason)
    except (Ended, Failure, Restarted):
        with suppress(Ended, Failure, Restarted):
            network.close("interrupted")


def left(ended: Ended, resumes: bool) -> Failure:
    """VFL0652 or VFL0653: this party cannot go on without one that has left."""
    peer = ended.peer
    again = "continue with --resume at all parties" if resumes else "start it again at all parties"
    if ended.reason == "interrupted":
        kept = "; the last checkpoint that all have is kept" if resumes else ""
        what = "the run" if resumes else "this"
        return Failure("VFL0653", f"{peer!r} stopped {what}", f"{again}{kept}", exit_code=PEER)
    if ended.reason == "expired":
        kept = "; what was saved is kept" if resumes else ""
        return Failure(
            "VFL0644",
            f"{peer!r} has ended the link: a certificate of the two parties has expired",
            f"get a new certificate, and {again}{kept}",
            exit_code=PEER,
        )
    return Failure(
        "VFL0652",
        f"{peer!r} has left{' the run' if resumes else ''}: it {_WHY.get(ended.reason, 'cannot continue')}",
        f"see what {peer!r} printed for the reason; then {again}",
        exit_code=PEER,
    )


_WHY = {"done": "says that it is done", "refused": "refuses what this party sent to it"}
