"""Two parties over another package's transport; and what a transport cannot do, or does wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import Command
from installing import finding, package, spec, tables, vflc
from safetensors.numpy import load_file

PARTIES = ("alice", "bob")
DEPLOY = """timeout = {timeout}
[parties.alice]
address = "{address}"
data = "alice.csv"
[parties.bob]
data = "bob.csv"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle, its tables and a deploy.toml by which they meet at a Unix socket."""
    (tmp_path / "m.vfl").write_text(spec("relu", "auc"), "utf-8")
    assert vflc("compile", "m.vfl", "-o", "bundle", at=tmp_path).returncode == 0
    tables(tmp_path)
    deploy(tmp_path, "unix://alice.sock")
    return tmp_path


def deploy(folder: Path, address: str, timeout: int = 60) -> None:
    (folder / "deploy.toml").write_text(DEPLOY.format(address=address, timeout=timeout), "utf-8")


def party(name: str, folder: Path, site: Path | str | None, *options: str) -> Command:
    arguments = ["party", name, "bundle", "--deploy", "deploy.toml", "--out", name, "--threads", "1"]
    out = folder / f"{name}.txt"
    given = *arguments, *(options or ("--insecure",))
    return Command("vflc", *given, stdout=out, stderr=out, cwd=folder, env=finding(site))


def ended(processes: dict[str, Command], folder: Path) -> Iterator[tuple[str, int, str]]:
    for name, process in processes.items():
        try:
            code = process.wait(120)
        finally:
            process.kill()
        yield name, code, " ".join((folder / f"{name}.txt").read_text("utf-8").split())


def test_two_parties_train_to_the_bits_of_one_process(site: Path, folder: Path) -> None:
    for name, code, said in ended({name: party(name, folder, site) for name in PARTIES}, folder):
        assert code == 0, f"{name}: {said}"
    data = ["--data", "alice=alice.csv", "--data", "bob=bob.csv", "--threads", 1, "--out", "alone"]
    assert vflc("train", "bundle", *data, at=folder).returncode == 0
    for name in PARTIES:
        file = Path(name) / "model.safetensors"
        one, other = (load_file(folder / run / file) for run in (name, "alone"))
        assert {key: value.tobytes() for key, value in one.items()} == {
            k: v.tobytes() for k, v in other.items()
        }


def test_without_the_package_there_is_no_such_transport(folder: Path) -> None:
    ((_, code, said),) = ended({"alice": party("alice", folder, None)}, folder)
    assert code == 1 and "error[VFL0654]: there is no transport 'unix'" in said and "grpc://" in said


def test_certificates_are_not_asked_for_and_ignored(site: Path, folder: Path) -> None:
    """Who has certificates believes that they hold: a transport that knows none refuses."""
    assert vflc("certs", "--out", ".", *PARTIES, at=folder).returncode == 0
    text = (folder / "deploy.toml").read_text()
    for name in PARTIES:
        own = f'[parties.{name}]\ncertificate = "{name}.pem"\nkey = "{name}.key"\n'
        text = text.replace(f"[parties.{name}]\n", own)
    (folder / "deploy.toml").write_text(text + '[tls]\nauthority = "authority.pem"\n')
    ((_, code, said),) = ended({"alice": party("alice", folder, site, "--resume")}, folder)
    assert code == 1 and "error[VFL0642]: unix:// does not authenticate the other end" in said


def test_an_address_that_is_none(site: Path, folder: Path) -> None:
    deploy(folder, "unix://")
    ((_, code, said),) = ended({"bob": party("bob", folder, site)}, folder)
    assert code == 1 and "'unix://' is not an address" in said and 'address = "unix://alice.sock"' in said


def test_where_it_cannot_listen(site: Path, folder: Path) -> None:
    deploy(folder, "unix://nowhere/alice.sock")
    ((_, code, said),) = ended({"alice": party("alice", folder, site)}, folder)
    assert code == 1 and "error[VFL0646]: cannot listen at 'nowhere/alice.sock'" in said


HEAD = """
from vflc_example.unix import Blocks, Listening, dial
from vflc_runtime.transport.plain import PlainEnds
from vflc_runtime.transport.transport import TransportRecord
class Odd(Blocks):
    count = 0
    BODY
def odd(path):
    made = dial(path)
    return Odd(made._connection)
def check(text): CHECK
TRANSPORT = TransportRecord("odd", "odd", "x", check, lambda place, tls: PlainEnds(place, odd, Listening))
"""
BROKEN = {
    "raises where it sends": (
        "def send(self, block): raise ValueError('odd one')", "return True", 1,
        "error[VFL0695]: 'odd' among the transports of the package strange 0.3 fails: ValueError: odd one",
    ),
    "raises where it receives": (
        "def receive(self, most): return self.nothing", "return True", 1, "strange 0.3 fails: AttributeError",
    ),
    "raises where it checks an address": ("", "return 1 / 0", 1, "strange 0.3 fails: ZeroDivisionError"),
    "damages what it carries": (
        "def receive(self, most):\n"
        "        self.count += 1; block = Blocks.receive(self, most)\n"
        "        return block if self.count < 5 or not block else block[:-1] + bytes([block[-1] ^ 255])",
        "return True", None, "error[VFL06",
    ),
    "brings more than it may": (
        "def receive(self, most): return bytes(9)", "return True", 3, "error[VFL0645]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_transport_ends_the_run(how: str, site: Path, folder: Path) -> None:
    """alice listens by ours, and bob dials by the one that is broken."""
    body, check, code, says = BROKEN[how]
    code_ = HEAD.replace("BODY", body).replace("CHECK", check)
    own = package(folder / "site", "[vflc.transports]\nodd = strange:TRANSPORT\n", code_)
    alice = party("alice", folder, site)
    text = (folder / "deploy.toml").read_text()
    while not (folder / "alice.sock").exists() and alice.poll() is None:
        time.sleep(0.05)
    (folder / "deploy.toml").write_text(text.replace("unix://", "odd://").replace("= 60", "= 20"))
    bob = party("bob", folder, f"{own}{os.pathsep}{site}")
    ((_, ended_with, said),) = ended({"bob": bob}, folder)
    alice.kill()
    alice.wait()
    assert ended_with in ((code,) if code else (1, 3)) and says in said and "Traceback" not in said, said
