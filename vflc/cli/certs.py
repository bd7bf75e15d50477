"""`vflc certs`: an authority and certificates to try parties on their own machines with."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vflc.cli.options import NEW_FOLDER, json_output, print_json

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_AUTHORITY = "vflc test authority"
_AUTHORITY_DAYS = 3650


@click.command("certs", short_help="Make certificates for a trial.")
@click.argument("parties", nargs=-1, required=True, metavar="PARTY...")
@click.option("--out", type=NEW_FOLDER, required=True, help="A folder.")
@click.option("--host", "hosts", multiple=True, help="A host name or address to include in the certificates.")
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="Validity.")
@click.option("--overwrite", is_flag=True, help="Replace existing files, including the authority.")
@json_output
def command(
    parties: tuple[str, ...], out: Path, hosts: tuple[str, ...], days: int, overwrite: bool, as_json: bool
) -> None:
    """Make a certificate and a key for every PARTY, issued by an authority in the same folder.

    An authority that is there already issues the new ones, too. For trying things out: who holds
    authority.key can be any party. Give each party its own two files and authority.pem.
    """
    for name in parties:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name == "authority":
            raise click.BadParameter(f"{name!r} cannot be the name of a party", param_hint="PARTY")
    for host in set(hosts) & set(parties):
        raise click.BadParameter(
            f"{host!r} is a party: a certificate names only one party", param_hint="--host"
        )
    written = make(out, parties, hosts, timedelta(days=days), overwrite)
    if as_json:
        print_json({"files": [str(file) for file in written]})
        return
    for file in written:
        click.echo(f"wrote {file}")


def make(
    out: Path,
    parties: tuple[str, ...],
    hosts: tuple[str, ...] = (),
    valid: timedelta = timedelta(days=90),
    overwrite: bool = False,
) -> list[Path]:
    """Writes PARTY.pem and PARTY.key for each party; returns what was written.

    VFL0612 where the disk refuses, VFL0647 without the `cryptography` package, VFL0648 where a file is there
    already.
    """
    from vflc_runtime.errors import Failure

    try:
        import cryptography  # noqa: F401
    except ImportError:
        help = "pip install 'vflc[grpc]'"
        raise Failure("VFL0647", "`vflc certs` needs the package 'cryptography'", help) from None
    there = [path for name in parties for path in _files(out, name) if path.exists()]
    authority = _files(out, "authority")
    kept = not overwrite and all(path.exists() for path in authority)
    if not overwrite and not kept:
        there += [path for path in authority if path.exists()]
    if there and not overwrite:
        help = "choose another folder, or replace them with --overwrite"
        raise Failure("VFL0648", f"{there[0]} already exists", help)
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = [] if kept else [*authority]
        issuer, key = _read(*authority) if kept else _write(authority, _AUTHORITY, (), None, None)
        for name in parties:
            files = _files(out, name)
            _write(files, name, hosts, (issuer, key), valid)
            written += files
    except OSError as error:
        raise Failure("VFL0612", f"cannot write {error.filename!r}: {error.strerror}") from None
    return written


def _files(out: Path, name: str) -> tuple[Path, Path]:
    return out / f"{name}.pem", out / f"{name}.key"


def _read(certificate: Path, key: Path) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from vflc_runtime.errors import Failure

    try:
        private = load_pem_private_key(key.read_bytes(), None)
        issuer = x509.load_pem_x509_certificate(certificate.read_bytes())
    except ValueError:
        private = None
    if not isinstance(private, EllipticCurvePrivateKey):
        help = "choose another folder, or replace all with --overwrite"
        raise Failure("VFL0643", f"{certificate} and {key} are not an authority made by `vflc certs`", help)
    return issuer, private


def _write(
    files: tuple[Path, Path],
    name: str,
    hosts: tuple[str, ...],
    issuer: tuple[x509.Certificate, EllipticCurvePrivateKey] | None,
    valid: timedelta | None,
) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    """A new key and the certificate for it: of an authority where there is no issuer."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(name, hosts, key, issuer, valid or timedelta(days=_AUTHORITY_DAYS))
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    _put(files[1], private, 0o600)
    _put(files[0], certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, key


def _certificate(
    name: str,
    hosts: tuple[str, ...],
    key: EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, EllipticCurvePrivateKey] | None,
    valid: timedelta,
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signer = key if issuer is None else issuer[1]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + valid) - timedelta(days=1))
        .not_valid_after(now + valid)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(_usage(issuer is None), critical=True)
    )
    if issuer is not None:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        names = [x509.DNSName(name), *map(_host, hosts)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _host(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _put(file: Path, content: bytes, mode: int) -> None:
    """Writes a new file that is never readable for more than `mode` says."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(content)
