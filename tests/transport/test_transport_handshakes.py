"""What a handshake of our own says of the other end, and what certificates say, without a socket."""

from __future__ import annotations

import math
import ssl
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wiring
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.transport import tls
from vflc_runtime.transport.tls import Tls, identity, listed, probe, split

from vflc.cli.certs import make

OWN = SimpleNamespace(authority=b"", files=SimpleNamespace(certificate="bob.pem", key="bob.key"))
ENDS = 1_900_000_000.0
SHOWN = {"subjectAltName": (("DNS", "alice"),), "notAfter": "Mar 17 17:46:40 2030 GMT"}


class Connection:
    """A socket, and what is wrapped around it."""

    def __init__(self, shown: dict | None = None) -> None:
        self.getpeercert, self.recv = lambda: shown or SHOWN, lambda count: b"h" * count

    def close(self) -> None: ...

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *ended: object) -> None: ...


def spoken(monkeypatch: pytest.MonkeyPatch, outcome: Connection | Exception) -> None:
    """Lets every handshake end like this."""

    def wrap(connection: object, server_hostname: str = "alice") -> Connection:
        assert server_hostname == "alice"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    context = SimpleNamespace(
        wrap_socket=wrap, set_alpn_protocols=lambda names: None, load_cert_chain=lambda *files: None
    )
    monkeypatch.setattr(tls.ssl, "create_default_context", lambda **given: context)


def broken(reason: str | None, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    error = kind(1, "it")
    error.reason, error.verify_message = reason, "unable to get issuer"
    return error


def told(failure: Failure | None) -> str | None:
    assert failure is None or failure.exit_code == PEER
    return failure and f"{failure.code} {failure.message}"


STRANGER = "VFL0644 whatever responds at the address of 'alice' is not 'alice': "


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Connection(), "it requires TLS, but this party was started without it"),
        (
            broken("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "it requires TLS, but this party was started without it",
        ),
        *((broken(reason), None) for reason in (*tls.PLAIN, None, "UNEXPECTED_EOF_WHILE_READING")),
    ],
)
def test_who_dials_without_tls(outcome: Any, says: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken(monkeypatch, outcome)
    assert told(tls._speaks_tls(Connection(), "alice")) == (says and STRANGER + says)


@pytest.mark.parametrize(
    ("outcome", "says", "ends"),
    [
        (Connection(), None, ENDS),
        (
            Connection({**SHOWN, "subjectAltName": (("DNS", "bob"),)}),
            f"{STRANGER}its certificate is for 'bob'",
            math.inf,
        ),
        (
            broken("CERTIFICATE_VERIFY_FAILED", ssl.SSLCertVerificationError),
            f"{STRANGER}its certificate is refused: unable to get issuer",
            math.inf,
        ),
        *((broken(reason), f"{STRANGER}it does not speak TLS", math.inf) for reason in tls.PLAIN),
        (
            broken("TLSV1_ALERT_UNKNOWN_CA"),
            "VFL0643 'alice' refuses bob.pem: tlsv1 alert unknown ca",
            math.inf,
        ),
        (broken("NO_CERTIFICATE"), "VFL0643 'alice' refuses bob.pem: no certificate", math.inf),
    ],
)
def test_what_a_handshake_tells(
    outcome: Any, says: str | None, ends: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken(monkeypatch, outcome)
    failure, greeted, expires = tls._greets(Connection(), "alice", ("alice", "bob"), OWN)
    assert (told(failure), greeted, expires) == (says, True, ends)


@pytest.mark.parametrize("reason", [None, "UNEXPECTED_EOF_WHILE_READING"])
def test_a_handshake_that_breaks_tells_nothing(reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe then leaves it to the stream to say what is wrong."""
    spoken(monkeypatch, broken(reason))
    with pytest.raises(ssl.SSLError):
        tls._greets(Connection(), "alice", ("alice", "bob"), OWN)
    monkeypatch.setattr(tls.socket, "create_connection", lambda *asked, **given: Connection())
    assert probe("[::1]:7", "alice", ("alice", "bob"), OWN) == (None, math.inf)


@pytest.mark.parametrize(
    ("greetings", "asked", "says", "ends"),
    [
        ([(None, True, ENDS)], 1, None, ENDS),
        ([(None, False, 1.0), (None, False, 2.0), (None, True, ENDS)], 3, None, ENDS),
        ([(None, False, 1.0), (Failure("VFL0644", "it"), True, math.inf)], 2, "it", math.inf),
        ([(None, False, ENDS)] * 4, 3, "'alice' closed the connection on seeing bob.pem", ENDS),
        ([(None, False, ENDS), OSError()], 2, None, ENDS),
        ([OSError()], 1, None, math.inf),
    ],
)
def test_who_hangs_up_three_times_refuses(
    greetings: list, asked: int, says: str | None, ends: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept, dialled = list[float](), list[Any]()

    def greets(*given: object) -> Any:
        found = greetings[len(dialled) - 1]
        if isinstance(found, Exception):
            raise found
        return found

    def connect(*where: object, timeout: float) -> Connection:
        dialled.append((*where, timeout))
        return Connection()

    monkeypatch.setattr(tls.socket, "create_connection", connect)
    monkeypatch.setattr(tls, "time", SimpleNamespace(sleep=slept.append))
    monkeypatch.setattr(tls, "_greets", greets)
    failure, expires = probe("[::1]:7", "alice", ("alice", "bob"), OWN)
    assert (failure and failure.message, expires) == (says, ends)
    assert dialled == [(("::1", 7), 2)] * asked
    over = failure is not None and "closed the connection" in failure.message
    assert slept == [0.1] * (asked if over else asked - 1)


def test_addresses_and_names() -> None:
    assert split("127.0.0.1:80") == ("127.0.0.1", 80) and split("[2001:db8::1]:443") == ("2001:db8::1", 443)
    assert listed([]) == "nobody"
    assert listed(["x" * 61, *"abcdef"]) == f"'{'x' * 60}', 'a', 'b', 'c', 'd'"


# --- certificates --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bob's certificate of one authority, and carol's of another one."""
    folder = tmp_path_factory.mktemp("certs")
    make(folder / "one", ("bob",))
    make(folder / "other", ("carol",))
    return folder


@pytest.mark.parametrize(
    ("edge", "seconds", "says"),
    [
        ("after", 0, None), ("after", 1, "expired on"),
        ("before", 0, None), ("before", -1, "is not valid before"),
    ],
)  # fmt: skip
def test_a_certificate_has_its_days(
    folder: Path, edge: str, seconds: int, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography import x509

    files = wiring.files(folder / "one", "bob")
    own = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    moment = getattr(own, f"not_valid_{edge}_utc") + timedelta(seconds=seconds)
    monkeypatch.setattr(tls, "datetime", SimpleNamespace(now=lambda zone: moment))
    if says is None:
        assert identity(files, "bob").expires == own.not_valid_after_utc.timestamp()
        return
    with pytest.raises(Failure, match=says) as caught:
        identity(files, "bob")
    assert (caught.value.code, caught.value.exit_code) == ("VFL0643", PEER)


@pytest.mark.parametrize(
    ("authorities", "chain", "fits"),
    [
        (("one", "other"), (), True), (("other", "one"), (), True), (("other", "other"), (), False),
        (("other",), ("one",), True),
    ],
)  # fmt: skip
def test_one_of_the_authorities_has_issued_it(
    folder: Path, tmp_path: Path, authorities: tuple, chain: tuple, fits: bool
) -> None:
    """Where others come between, who dials finds out."""
    own = wiring.files(folder / "one", "bob")
    made = Tls(tmp_path / "authority.pem", tmp_path / "bob.pem", own.key)
    for path, parts in (
        (made.authority, [folder / name / "authority.pem" for name in authorities]),
        (made.certificate, [own.certificate, *(folder / name / "authority.pem" for name in chain)]),
    ):
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
    if fits:
        assert identity(made, "bob").authority == made.authority.read_bytes()
    else:
        with pytest.raises(Failure, match="was not issued by the authority"):
            identity(made, "bob")


def test_a_certificate_without_alternative_names_is_for_its_common_name(folder: Path) -> None:
    from cryptography import x509

    issued, authority = (folder / "one" / name for name in ("bob.pem", "authority.pem"))
    names = [tls._names(x509.load_pem_x509_certificate(path.read_bytes())) for path in (issued, authority)]
    assert names == [["bob"], ["vflc test authority"]]


def test_a_key_with_a_password_is_of_no_use(folder: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as of

    files = wiring.files(folder / "one", "bob")
    key = of.load_pem_private_key(files.key.read_bytes(), None)
    locked = key.private_bytes(of.Encoding.PEM, of.PrivateFormat.PKCS8, of.BestAvailableEncryption(b"word"))
    (tmp_path / "bob.key").write_bytes(locked)
    with pytest.raises(Failure, match=r"bob\.key is not a PEM file .* or needs a password") as caught:
        identity(Tls(files.authority, files.certificate, tmp_path / "bob.key"), "bob")
    assert (caught.value.code, caught.value.exit_code) == ("VFL0643", 1)


@pytest.mark.parametrize(("days", "says"), [(14.0, "in 14.0 days"), (14.00001, None), (0.5, "in 0.5 days")])
def test_two_weeks_before_the_end_it_is_said(
    days: float, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "time", SimpleNamespace(time=lambda: ENDS - days * 86_400))
    warned = tls.expires_soon("bob", ENDS)
    assert (warned is None) == (says is None)
    if warned is not None:
        assert f"the certificate of bob expires on 2030-03-17 17:46 UTC, {says}" in warned.message


def test_the_end_of_a_link_names_the_certificate() -> None:
    over = tls.expired("alice", "the certificate of bob")
    assert over.message == "the link to 'alice' has ended: the certificate of bob has expired"
    assert (over.code, over.exit_code) == ("VFL0644", PEER)
