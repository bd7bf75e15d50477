"""`vflc certs`: who may read what, what is never replaced, and that the parties can use it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import wiring
from cryptography import x509
from vflc_runtime.transport.tls import identity

from vflc.cli.main import run


def test_certificates_for_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "certs"
    assert run(["certs", "--out", str(out), "alice", "bob_2", "--host", "127.0.0.1", "--days", "5"]) == 0
    names = ["authority.key", "authority.pem", "alice.key", "alice.pem", "bob_2.key", "bob_2.pem"]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    for path in out.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("alice", "bob_2"):
        identity(wiring.files(out, name), name)
    certificate = x509.load_pem_x509_certificate((out / "alice.pem").read_bytes())
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 6
    assert "wrote" in capsys.readouterr().out


def test_nothing_is_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["certs", "--out", str(tmp_path)]
    assert run([*args, "alice"]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run([*args, "bob", "alice"]) == 1
    assert "VFL0648" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert run([*args, "bob"]) == 0
    identity(wiring.files(tmp_path, "bob"), "bob")
    assert (tmp_path / "authority.pem").read_bytes() == before["authority.pem"], "the same authority"
    assert run([*args, "alice", "--overwrite"]) == 0
    assert (tmp_path / "authority.pem").read_bytes() != before["authority.pem"]
    identity(wiring.files(tmp_path, "alice"), "alice")


@pytest.mark.parametrize("arguments", [["al/ice"], ["authority"], ["alice", "bob", "--host", "bob"], []])
def test_names_that_cannot_be(tmp_path: Path, arguments: list[str]) -> None:
    assert run(["certs", "--out", str(tmp_path), *arguments]) == 2
    assert not list(tmp_path.iterdir())


def test_an_authority_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("authority.pem", "authority.key"):
        (tmp_path / name).write_text("junk", encoding="ascii")
    assert run(["certs", "--out", str(tmp_path), "alice"]) == 1
    assert "VFL0643" in capsys.readouterr().err
