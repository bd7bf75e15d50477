"""What a transport is: it carries bytes between two parties, by addresses of a scheme of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from vflc_runtime.transport.ends import Dial, Dialing
from vflc_runtime.transport.link import Link
from vflc_runtime.transport.tls import Tls

Fail = Callable[[Exception], None]


class Server(Protocol):
    """Takes the streams of those who dial, from `start` to `stop`.

    `port` is where it listens, for addresses that have one; `refused` says who was turned away last.
    """

    port: int
    refused: list[str]

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Ends(Protocol):
    """What makes both ends of streams at one place. `expires` is when its own certificate does."""

    expires: float

    def check(self, address: str) -> None:
        """Refuses an address that may not be dialled, or listened at, this way."""
        ...

    def server(self, address: str, links: Mapping[str, Link], largest: int, fail: Fail) -> Server:
        """Listens at an address for the peers of `links`; no frame has over `largest` bytes of payload."""
        ...

    def dialer(self, dial: Dial) -> Dialing:
        """Dials a peer, and dials again."""
        ...


@dataclass(frozen=True, slots=True)
class TransportRecord:
    """A transport by the scheme of its addresses. Each party's deploy.toml chooses: none stands in a bundle.

    Args:
        name: the scheme, as in "unix://…"; what has none is for gRPC.
        doc: one sentence.
        example: an address without its scheme.
        is_address: whether a text is an address, without its scheme.
        ends: from (place, certificates or None) to the `Ends` there.
        authenticates: whether certificates say who is at the other end. One that does not is for trials, as
            gRPC is without: with `--insecure` alone.
    """

    name: str
    doc: str
    example: str
    is_address: Callable[[str], bool]
    ends: Callable[[str, Tls | None], Ends]
    authenticates: bool = False
