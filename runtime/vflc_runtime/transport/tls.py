"""Who is at the other end: certificates, the names in them, and what is wrong where it fails."""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vflc_runtime import files
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.events import Warned

PLAIN = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}
"""How OpenSSL says that the other end does not speak TLS."""

SOON = 14
"""Days before a certificate expires from which on it is said."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the authority that all parties trust, and this party's own."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Identity:
    """The content of the files, checked; `expires` in seconds since 1970."""

    files: Tls
    authority: bytes
    certificate: bytes
    key: bytes
    expires: float


def identity(tls: Tls, place: str) -> Identity:
    """Reads the files of `place`; VFL0643 where no peer would accept them, VFL0659 where its key is known."""
    content: list[bytes] = []
    for file in (tls.authority, tls.certificate, tls.key):
        try:
            content.append(file.read_bytes())
        except OSError as error:
            raise _unusable(f"{file} cannot be read: {error.strerror}", exit_code=1) from None
    _check_own(tls, place, *content)
    files.check_secret(tls.key)
    ca, certificate, key = content
    return Identity(tls, ca, certificate, key, expiry(certificate))


def expiry(certificate: bytes) -> float:
    """When a certificate in PEM expires, in seconds since 1970."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()


def _check_own(tls: Tls, place: str, authority: bytes, certificate: bytes, key: bytes) -> None:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        file = tls.authority
        authorities = x509.load_pem_x509_certificates(authority)
        file = tls.certificate
        own, *others = x509.load_pem_x509_certificates(certificate)
        file = tls.key
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError):
        raise _unusable(f"{file} is not a PEM file of the right kind, or needs a password", 1) from None
    if private.public_key() != own.public_key():
        raise _unusable(f"{tls.key} is not the key of {tls.certificate}", 1)
    if own.not_valid_after_utc < (now := datetime.now(UTC)):
        raise _unusable(f"{tls.certificate} expired on {own.not_valid_after_utc:%Y-%m-%d}")
    if own.not_valid_before_utc > now:
        raise _unusable(
            f"{tls.certificate} is not valid before {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )
    names = _names(own)
    if place not in names:
        raise _unusable(f"{tls.certificate} is for {listed(names)}, but this party is {place!r}")
    for each in authorities if not others else ():
        try:
            own.verify_directly_issued_by(each)
            break
        except (ValueError, TypeError, InvalidSignature):
            continue
    else:
        if not others:
            raise _unusable(f"{tls.certificate} was not issued by the authority in {tls.authority}")


def _names(certificate: Any) -> list[str]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return [str(name) for name in extension.value.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        found = certificate.subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
        return [str(each.value) for each in found]


def party_of(names: Collection[str], parties: Collection[str]) -> str | None:
    """The one party that a certificate with these names is for; None where it is none or several."""
    found = set(names) & set(parties)
    return found.pop() if len(found) == 1 else None


def listed(names: Collection[str]) -> str:
    """Names for a message, whatever somebody put into them."""
    return ", ".join(repr(name[:60]) for name in list(names)[:5]) or "nobody"


def check_insecure(addresses: Collection[str]) -> None:
    """VFL0642 unless all addresses are of this machine's own loopback."""
    for address in addresses:
        host = split(address)[0]
        try:
            inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            inside = False
        if not inside:
            raise Failure(
                "VFL0642",
                "without encryption, all addresses must be loopback addresses, such as 127.0.0.1: "
                f"{address!r} is not",
                "give certificates; `vflc certs --out DIR PARTY …` makes some for a trial",
            )


def split(address: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[host]:port"."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


# --- what is wrong ---------------------------------------------------------------------------


def probe(
    address: str, peer: str, parties: Collection[str], own: Identity | None
) -> tuple[Failure | None, float]:
    """Why no stream to `peer` will come about, where trying again is of no use; and when its certificate
    expires, in seconds since 1970, as far as it shows one.

    TLS handshakes of our own, because gRPC reports every failure as "unavailable" and does not
    show the peer's certificate to who dials. A server of gRPC says nothing where it refuses a
    certificate: it hangs up, which counts where it does so three times in a row.
    """
    expires = math.inf
    try:
        for _ in range(3):
            with socket.create_connection(split(address), timeout=2) as connection:
                if own is None:
                    return _speaks_tls(connection, peer), expires
                failure, greeted, expires = _greets(connection, peer, parties, own)
            if failure is not None or greeted:
                return failure, expires
            time.sleep(0.1)
    except OSError:
        return None, expires
    hangs_up = f"{peer!r} closed the connection on seeing {own.files.certificate}" if own else ""
    return _unusable(hangs_up), expires


def _speaks_tls(connection: socket.socket, peer: str) -> Failure | None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_socket(connection).close()
    except ssl.SSLError as error:
        if error.reason is None or error.reason in PLAIN or "EOF" in error.reason:
            return None
    return stranger(peer, "it requires TLS, but this party was started without it")


def _greets(
    connection: socket.socket, peer: str, parties: Collection[str], own: Identity
) -> tuple[Failure | None, bool, float]:
    """What is wrong, whether the other end said anything after the handshake, when its certificate ends."""
    context = ssl.create_default_context(cadata=own.authority.decode("ascii", "replace"))
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(own.files.certificate, own.files.key)
    try:
        with context.wrap_socket(connection, server_hostname=peer) as secured:
            names = names_shown(secured)
            if party_of(names, parties) != peer:
                return stranger(peer, f"its certificate is for {listed(names)}"), True, math.inf
            shown: dict[str, Any] = secured.getpeercert() or {}
            return None, _says_something(secured), ssl.cert_time_to_seconds(shown["notAfter"])
    except ssl.SSLError as error:
        failure = handshake_failure(error, peer, own)
        if failure is None:
            raise
        return failure, True, math.inf


def handshake_failure(error: ssl.SSLError, peer: str, own: Identity) -> Failure | None:
    """What an end of TLS means that the handshake brought about, where trying again is of no use."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return stranger(peer, f"its certificate is refused: {error.verify_message}")
    if error.reason in PLAIN:
        return stranger(peer, "it does not speak TLS")
    if error.reason is not None and ("ALERT" in error.reason or "CERTIFICATE" in error.reason):
        why = error.reason.lower().replace("_", " ")
        return _unusable(f"{peer!r} refuses {own.files.certificate}: {why}")
    return None


def _says_something(secured: ssl.SSLSocket) -> bool:
    try:
        return bool(secured.recv(1))
    except TimeoutError:
        return True
    except (ConnectionError, ssl.SSLEOFError):
        return False


def names_shown(secured: ssl.SSLSocket | ssl.SSLObject) -> list[str]:
    """The names in the peer's certificate: the alternative ones, or the common one without any."""
    shown: dict[str, Any] = secured.getpeercert() or {}
    names = [str(value) for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"]
    common = [str(value) for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
    return names or common


def expired(peer: str, whose: str) -> Failure:
    """VFL0644: a link does not outlive the certificates that it was made with."""
    return Failure(
        "VFL0644",
        f"the link to {peer!r} has ended: {whose} has expired",
        "get a new certificate, and continue with --resume at all parties; what was saved is kept",
        exit_code=PEER,
    )


def expires_soon(whose: str, at: float) -> Warned | None:
    """VFL0658: days before a certificate ends the run."""
    left = (at - time.time()) / 86_400
    if left > SOON:
        return None
    when = datetime.fromtimestamp(at, UTC)
    return Warned(
        "VFL0658",
        f"the certificate of {whose} expires on {when:%Y-%m-%d %H:%M} UTC, in {left:.1f} days: "
        "a run in progress ends then",
        "ask whoever runs the authority for a new one",
    )


def stranger(peer: str, why: str) -> Failure:
    """VFL0644: not the peer."""
    return Failure(
        "VFL0644",
        f"whatever responds at the address of {peer!r} is not {peer!r}: {why}",
        "compare the addresses and the authority in both parties' deploy.toml",
        exit_code=PEER,
    )


def _unusable(what: str, exit_code: int = PEER) -> Failure:
    help = "ask whoever runs the authority for a new one; `vflc certs` makes some for a trial"
    return Failure("VFL0643", what, help, exit_code=exit_code)
