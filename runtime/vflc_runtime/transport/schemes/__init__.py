"""Transports by the schemes of addresses: a module each, which holds `TRANSPORT`.

Others are entry points `vflc.transports`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from vflc_common.plugins import BrokenPlugin, Records

from vflc_runtime.bundle.plugins import unusable
from vflc_runtime.errors import Failure
from vflc_runtime.transport.tls import Tls
from vflc_runtime.transport.transport import Ends, TransportRecord

TRANSPORTS: Records[TransportRecord] = Records("transports", __name__, "TRANSPORT", TransportRecord)
USUAL = "grpc"


def split(address: str) -> tuple[str, str]:
    """The scheme of an address, and the rest."""
    scheme, found, rest = address.partition("://")
    return (scheme, rest) if found else (USUAL, address)


def wrong_address(key: str, address: str) -> tuple[str, str] | None:
    """What is wrong with an address, and what to write for it; None where all is well.

    Raises:
        Failure: VFL0695, its transport cannot be used.
    """
    scheme, rest = split(address)
    if scheme not in TRANSPORTS:
        known = ", ".join(f"{name}://" for name in TRANSPORTS.names())
        return f"there is no transport {scheme!r}", f"transports: {known}"
    try:
        with TRANSPORTS.using(scheme) as record:
            if record.is_address(rest):
                return None
            example = record.example if scheme == USUAL else f"{scheme}://{record.example}"
    except BrokenPlugin as broken:
        raise unusable(broken) from broken
    return f"{address!r} is not an address", f'write {key} = "{example}"'


def chooser(place: str, tls: Tls | None) -> Callable[[str], tuple[str, Ends, str]]:
    """From an address to its scheme, what dials or listens there, and the address without scheme.

    Raises:
        Failure: VFL0642, the transport does not say who is at the other end, and there are certificates;
            VFL0695, it cannot be used.
    """

    @cache
    def ends(scheme: str) -> Ends:
        try:
            with TRANSPORTS.using(scheme, Failure) as record:
                if tls is not None and not record.authenticates:
                    raise Failure(
                        "VFL0642",
                        f"{scheme}:// does not authenticate the other end, even with certificates",
                        "use it for trials only: start all parties with --insecure",
                    )
                return record.ends(place, tls)
        except BrokenPlugin as broken:
            raise unusable(broken) from broken

    def choose(address: str) -> tuple[str, Ends, str]:
        scheme, rest = split(address)
        return scheme, ends(scheme), rest

    return choose
