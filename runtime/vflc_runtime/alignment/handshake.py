"""The first words of an alignment: who is there, and whether all mean the same."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from vflc_common.control import ALIGN_CHECK, ALIGN_HELLO

from vflc_runtime.alignment.exchange import Clock, Exchange, PeerExchange, wrong
from vflc_runtime.alignment.settings import METHODS, AlignSettings
from vflc_runtime.errors import PEER, Failure

VERSION = 1
_HELLO = struct.Struct(">BBHQ32s32s")
_NO_HUB = 0xFFFF
_LEAST, _EACH = 60.0, 1e-3
"""Seconds that an alignment may take after its first words, and for each row of all parties: ten times
what one core needs."""
NO_TOKEN = bytes(32)
"""Says that no earlier alignment of this table is kept."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """What all parties know after their first message.

    Args:
        place: this party.
        links: to every other, by name.
        hub: who compares: learns how the tables overlap two by two, where there are more than two.
        salt: 32 bytes that no party could choose, and that differ in every alignment.
        kept: whether all parties kept the same alignment of the same tables.
    """

    place: str
    links: dict[str, PeerExchange]
    hub: str
    salt: bytes
    kept: bool

    @property
    def token(self) -> bytes:
        """A name for the result of this alignment; says nothing about it."""
        return hashlib.blake2b(b"token" + self.salt, digest_size=32).digest()


def meet(
    method: str,
    place: str,
    peers: Sequence[str],
    rows: int,
    exchange: Exchange,
    settings: AlignSettings,
    token: bytes,
) -> Handshake:
    """Tells every peer what this party is about to do and hears the same of each.

    Raises:
        Failure: VFL0660 where a peer would do something else, VFL0662 where it makes no sense, VFL0667
            where a table is larger than this party takes.
    """
    _check_rows(place, rows, settings.rows)
    places = sorted((place, *peers))
    hub = _NO_HUB if settings.hub is None else places.index(settings.hub)
    nonces = {place: secrets.token_bytes(32)}
    counts, tokens = {place: rows}, {token}
    own = _HELLO.pack(VERSION, METHODS.index(method), hub, rows, nonces[place], token)
    for peer in peers:
        exchange.tell(peer, ALIGN_HELLO.name, own)
    for peer in peers:
        heard = exchange.hear(peer, ALIGN_HELLO.name, ALIGN_HELLO.bytes, settings.reading)
        if len(heard) != ALIGN_HELLO.bytes:
            raise wrong(peer, f"{ALIGN_HELLO.name} has {len(heard)} bytes instead of {ALIGN_HELLO.bytes}")
        version, index, theirs, counts[peer], nonces[peer], known = _HELLO.unpack(heard)
        _compare(place, peer, "the version", VERSION, version)
        _compare(place, peer, "the method", method, _named(METHODS, index))
        _compare(place, peer, "the hub", settings.hub, None if theirs == _NO_HUB else _named(places, theirs))
        if counts[peer] < 1:
            raise wrong(peer, "it says that it has no rows")
        _check_rows(peer, counts[peer], settings.rows)
        tokens.add(known)
    clock = Clock(_LEAST + _EACH * sum(counts.values()))
    salt = hashlib.sha256(b"".join(nonces[each] for each in places)).digest()
    return Handshake(
        place,
        {peer: PeerExchange(peer, counts[peer], exchange, clock) for peer in peers},
        settings.hub or min(places, key=lambda each: (counts[each], each)),
        salt,
        len(tokens) == 1 and token != NO_TOKEN,
    )


def confirm_key(handshake: Handshake, key: bytes) -> None:
    """VFL0664 where a peer's shared key is another; the key itself is not told."""

    def proof(place: str) -> bytes:
        return hmac.digest(key, handshake.salt + place.encode(), "sha256")

    for link in handshake.links.values():
        link.tell(ALIGN_CHECK, proof(handshake.place))
    for peer, link in handshake.links.items():
        if not hmac.compare_digest(link.hear(ALIGN_CHECK, ALIGN_CHECK.bytes), proof(peer)):
            raise Failure(
                "VFL0664",
                f"{handshake.place} and {peer} have different shared keys",
                "give both the same file",
                exit_code=PEER,
            )


def _check_rows(party: str, rows: int, most: int) -> None:
    if rows > most:
        raise Failure(
            "VFL0667",
            f"{party} says it has {rows:,} rows; this party aligns with at most {most:,}",
            "if the number is right, set rows = … in [align] of deploy.toml at all parties",
            exit_code=PEER,
        )


def _named(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else "unknown"


def _compare(place: str, peer: str, what: str, own: object, theirs: object) -> None:
    if own != theirs:
        raise Failure(
            "VFL0660",
            f"{what} of the alignment is {own or 'not set'} at {place} and {theirs or 'not set'} at {peer}",
            "use the same [align] section in deploy.toml at all parties",
            exit_code=PEER,
        )
