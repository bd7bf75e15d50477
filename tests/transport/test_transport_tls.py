"""Who may connect: certificates of other authorities, for other names, expired, or none at all."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import pytest
import wiring
from vflc_runtime import events
from vflc_runtime.errors import Failure
from vflc_runtime.party.joined import left
from vflc_runtime.transport.grpc import network
from vflc_runtime.transport.network import Ended
from vflc_runtime.transport.tls import Identity, Tls, check_insecure, identity, party_of

from vflc.cli.certs import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`good` and `other` authorities, each with alice, bob and mallory, and what is wrong in some way."""
    folder = tmp_path_factory.mktemp("certs")
    for name in ("good", "other"):
        make(folder / name, ("alice", "bob", "mallory"))
    make(folder / "good", ("both",), hosts=("alice", "bob"))
    for name in ("authority.pem", "authority.key"):
        (folder / "late").mkdir(exist_ok=True)
        (folder / "late" / name).write_bytes((folder / "good" / name).read_bytes())
    make(folder / "late", ("alice", "bob"), valid=timedelta(seconds=-60))
    (folder / "mixed").mkdir()
    for name, source in (("authority.pem", "good"), ("bob.pem", "other"), ("bob.key", "other")):
        (folder / "mixed" / name).write_bytes((folder / source / name).read_bytes())
    return folder


def of(folder: Path, authority: str, name: str) -> Tls:
    return wiring.files(folder / authority, name)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A party that does not look at its own certificate first, as an attacker would not."""

    def unchecked(tls: Tls, place: str) -> Identity:
        content = [file.read_bytes() for file in (tls.authority, tls.certificate, tls.key)]
        return Identity(tls, *content, expires=math.inf)

    monkeypatch.setattr(network, "identity", unchecked)


def failed(outcome: object) -> Failure:
    assert isinstance(outcome, Failure), outcome
    assert outcome.exit_code == 3
    return outcome


def test_parties_with_certificates_talk(folder: Path) -> None:
    tls = {name: of(folder, "good", name) for name in ("alice", "bob")}
    networks = wiring.opened(wiring.grpc("alice", "bob", tls=tls))
    with wiring.closing(*networks.values()):
        networks["alice"].send("bob", wiring.envelope("alice", "bob", 1))
        taken = networks["bob"].take("alice", "alice>bob")
        assert wiring.same(taken, wiring.envelope("alice", "bob", 1))


WRONG = {
    "the listener is of another authority": (("other", "alice"), ("good", "bob"), "VFL0644", "refused: "),
    "the listener is somebody else": (("good", "mallory"), ("good", "bob"), "VFL0644", "for 'mallory'"),
    "the listener has two names": (("good", "both"), ("good", "bob"), "VFL0644", "for 'both', 'alice', "),
    "the listener has expired": (("late", "alice"), ("good", "bob"), "VFL0644", "expired"),
    "the listener does not speak TLS": (None, ("good", "bob"), "VFL0644", "does not speak TLS"),
    "who dials is of another authority": (("good", "alice"), ("mixed", "bob"), "VFL0643", "closed the"),
    "who dials is somebody else": (("good", "alice"), ("good", "mallory"), "VFL0644", "does not accept"),
    "who dials has two names": (("good", "alice"), ("good", "both"), "VFL0644", "does not accept"),
    "who dials has expired": (("good", "alice"), ("late", "bob"), "VFL0643", "closed the"),
    "who dials does not speak TLS": (("good", "alice"), None, "VFL0644", "requires TLS"),
}


@pytest.mark.parametrize("case", WRONG)
def test_strangers_are_turned_away(folder: Path, trusting: None, case: str) -> None:
    here, there, code, named = WRONG[case]
    alice = wiring.listening(tls=of(folder, *here) if here else None)
    bob = wiring.dialling(f"127.0.0.1:{alice.bind()}", tls=of(folder, *there) if there else None)
    with wiring.closing(alice, bob):
        wiring.meanwhile(alice.open)
        (outcome,) = wiring.together(bob.open, within=wiring.LONG / 2)
        assert failed(outcome).code == code
        assert named in outcome.message
        assert not alice._links["bob"].has_met()


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_link_ends_with_the_certificates_it_was_made_with(tmp_path: Path, name: str) -> None:
    """alice listens and bob dials: whose it is, both are told."""
    make(tmp_path, ("alice", "bob"))
    make(tmp_path / "short", (name,))
    for file in ("authority.pem", "authority.key"):
        (tmp_path / "short" / file).write_bytes((tmp_path / file).read_bytes())
        (tmp_path / "short" / f"{name}{file[-4:]}").unlink()
    make(tmp_path / "short", (name,), valid=timedelta(seconds=8))
    tls = {each: wiring.files(tmp_path, each) for each in ("alice", "bob")}
    tls[name] = wiring.files(tmp_path / "short", name)
    alice = wiring.listening(tls=tls["alice"])
    bob = wiring.dialling(f"127.0.0.1:{alice.bind()}", tls=tls["bob"])
    with wiring.closing(alice, bob):
        assert wiring.together(alice.open, bob.open) == [None, None]
        alice.tell("bob", "word", b"in time")
        assert bob.hear("alice", "word", 100) == b"in time"
        found = wiring.together(
            lambda: alice.hear("bob", "word", 100), lambda: bob.hear("alice", "word", 100)
        )
    for outcome in found:
        if isinstance(outcome, Ended):  # the other was first to find it
            outcome = left(outcome, resumes=True)
        assert failed(outcome).code == "VFL0644" and "certificate" in outcome.message, found
    assert any(f"the certificate of '{name}' has expired" in str(outcome) for outcome in found)


def test_the_right_one_comes_after_a_stranger(folder: Path, trusting: None) -> None:
    alice = wiring.listening(tls=of(folder, "good", "alice"))
    address = f"127.0.0.1:{alice.bind()}"
    stranger = wiring.dialling(address, tls=of(folder, "good", "mallory"))
    bob = wiring.dialling(address, tls=of(folder, "good", "bob"))

    def later() -> None:
        failed(wiring.together(stranger.open)[0])
        bob.open()

    with wiring.closing(alice, bob, stranger):
        assert wiring.together(alice.open, later) == [None, None]
        assert alice._listener is not None
        assert "'mallory'" in alice._listener.refused[0]


@pytest.mark.parametrize(
    ("authority", "name", "place", "code", "named"),
    [
        ("late", "bob", "bob", 3, "expired on"),
        ("good", "mallory", "bob", 3, "is for 'mallory', but this party is 'bob'"),
        ("good", "nobody", "nobody", 1, "cannot be read"),
    ],
)
def test_a_party_looks_at_its_own_first(
    folder: Path, authority: str, name: str, place: str, code: int, named: str
) -> None:
    with pytest.raises(Failure) as caught:
        identity(of(folder, authority, name), place)
    assert (caught.value.code, caught.value.exit_code) == ("VFL0643", code)
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("mode", "kept"), [(0o600, True), (0o640, True), (0o644, False), (0o660, False), (0o601, False)]
)
def test_a_private_key_is_private(tmp_path: Path, mode: int, kept: bool) -> None:
    make(tmp_path, ("bob",))
    tls = wiring.files(tmp_path, "bob")
    tls.key.chmod(mode)
    if kept:
        identity(tls, "bob")
        return
    with pytest.raises(Failure, match=f"bob.key must be secret.* its mode is {mode:04o}") as caught:
        identity(tls, "bob")
    assert (caught.value.code, caught.value.exit_code) == ("VFL0659", 1)


@pytest.mark.parametrize(("days", "said"), [(13, True), (15, False)])
def test_it_is_said_days_before_a_certificate_expires(tmp_path: Path, days: int, said: bool) -> None:
    """To both: the run ends for both."""
    make(tmp_path, ("alice",), valid=timedelta(days=days))
    make(tmp_path, ("bob",))
    alice = wiring.listening(tls=wiring.files(tmp_path, "alice"))
    bob = wiring.dialling(f"127.0.0.1:{alice.bind()}", tls=wiring.files(tmp_path, "bob"))
    told: dict[str, list[events.Event]] = {"alice": [], "bob": []}
    alice.report_to(told["alice"].append)
    bob.report_to(told["bob"].append)
    with wiring.closing(alice, bob):
        assert wiring.together(alice.open, bob.open) == [None, None]
    for warnings in told.values():
        assert [each.code for each in warnings] == (["VFL0658"] if said else [])
        assert not said or "the certificate of alice expires on" in warnings[0].message
        assert not said or "in 13.0 days" in warnings[0].message


def test_files_that_do_not_fit_each_other(folder: Path, tmp_path: Path) -> None:
    good, other = of(folder, "good", "bob"), of(folder, "other", "bob")
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", encoding="ascii")
    for tls, named, exit_code in (
        (Tls(good.authority, good.certificate, other.key), "is not the key of", 1),
        (Tls(other.authority, good.certificate, good.key), "was not issued by the authority", 3),
        (Tls(good.authority, junk, good.key), "is not a PEM file", 1),
        (Tls(junk, good.certificate, good.key), "is not a PEM file", 1),
        (Tls(good.authority, good.certificate, good.certificate), "is not a PEM file", 1),
    ):
        with pytest.raises(Failure) as caught:
            identity(tls, "bob")
        assert (caught.value.code, caught.value.exit_code) == ("VFL0643", exit_code)
        assert named in caught.value.message


def test_a_name_is_of_one_party() -> None:
    parties = ("alice", "bob")
    assert party_of(["bob", "host.example.org"], parties) == "bob"
    assert party_of(["alice", "bob"], parties) is None
    assert party_of(["mallory"], parties) is None
    assert party_of([], parties) is None


@pytest.mark.parametrize(
    "address", ["0.0.0.0:1", "192.168.1.4:1", "example.org:1", "[2001:db8::1]:1", "[::]:1"]
)
def test_no_encryption_on_loopback_only(address: str) -> None:
    check_insecure(["127.0.0.1:1", "[::1]:1", "localhost:1", "127.8.8.8:1"])
    with pytest.raises(Failure) as caught:
        check_insecure(["127.0.0.1:1", address])
    assert caught.value.code == "VFL0642"
    with pytest.raises(Failure):
        wiring.dialling(address)
