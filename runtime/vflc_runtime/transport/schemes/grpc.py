"""gRPC, over TLS or, on loopback, without."""

from __future__ import annotations

import re

from vflc_runtime.transport.tls import Tls
from vflc_runtime.transport.transport import Ends, TransportRecord

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


def is_address(text: str) -> bool:
    """Whether it is "host:port"."""
    match = _ADDRESS.fullmatch(text)
    return match is not None and int(match[2]) < 1 << 16


def ends(place: str, tls: Tls | None) -> Ends:
    """Those of a place; VFL0643 where its certificate is of no use."""
    from vflc_runtime.transport.grpc.network import GrpcEnds

    return GrpcEnds(place, tls)


TRANSPORT = TransportRecord(
    name="grpc",
    doc="gRPC between machines, over mutual TLS.",
    example="10.0.0.7:7443",
    is_address=is_address,
    ends=ends,
    authenticates=True,
)
