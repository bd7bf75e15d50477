"""`deploy.toml`: where parties are reached, and what this one needs of its own machine.

One file may serve all parties: each reads its own section and the addresses of the others.

    timeout = 60                        # seconds that a wait lasts at most

    [parties.alice]
    address = "alice.example.org:7443"  # where others dial; without it alice only dials out
    listen = "0.0.0.0:7443"             # where alice listens, where that is not the address
    data = "alice.parquet"
    validation_data = "later.parquet"   # rows to validate with; without it a part of the others, if any
    certificate = "alice.pem"
    key = "alice.key"
    ledger = "ledger"                   # what its rows have cost so far; else beside the run's folder
    device = "cuda"                     # where the engine onnx runs here; else on the processor

    [parties.bob]
    data = "bob.csv"
    certificate = "bob.pem"
    key = "bob.key"

    [tls]
    authority = "ca.pem"

    [align]
    method = "psi"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vflc_common.words import DEVICES

from vflc_runtime.alignment.settings import METHODS, READING, ROWS, AlignSettings, read_key
from vflc_runtime.data.source import Below
from vflc_runtime.party.toml import TomlTable
from vflc_runtime.transport.schemes import wrong_address

TIMEOUT = 60.0
"""Seconds that a wait lasts at most, unless deploy.toml or the command line says otherwise."""
_ALIGN = ("method", "hub", "key", "threads", "reading", "rows")
_PARTY = ("address", "listen", "data", "validation_data", "certificate", "key", "ledger", "device")


@dataclass(frozen=True, slots=True)
class Deploy:
    """What deploy.toml says, from the view of one party.

    Args:
        place: the party.
        addresses: by place, of those that others can dial; each is `host:port`, or of another transport.
        listen: where this party listens; None where it only dials out.
        data: this party's source, at or below the file's folder; None where none is named.
        certificate, key, authority: files for TLS; None where not named.
        method, hub, shared_key, threads, reading, rows: how keys are aligned, see `AlignSettings`.
        timeout: seconds that a wait lasts at most.
        ledger: folder of the party's ledger; None where none is named.
        device: where the engine `onnx` runs here.
        validation_data: this party's source of rows to validate with; None where none is named.
    """

    place: str
    addresses: dict[str, str]
    listen: str | None
    data: Below | None
    certificate: Path | None
    key: Path | None
    authority: Path | None
    method: str
    hub: str | None
    shared_key: Path | None
    threads: int | None
    reading: float
    rows: int
    timeout: float
    ledger: Path | None = None
    device: str = DEVICES[0]
    validation_data: Below | None = None

    def align_settings(self, cache: Path | None) -> AlignSettings:
        """How to align; results are kept in `cache`."""
        key = None if self.shared_key is None else read_key(self.shared_key)
        return AlignSettings(self.hub, key, cache, self.threads, self.reading, self.rows)


def read_deploy(file: Path, place: str, places: tuple[str, ...]) -> Deploy:
    """Reads `file` for the party `place` of a bundle with these `places`.

    Raises:
        Failure: VFL0654, at its line, for everything that is wrong in it.
    """
    top = TomlTable.read(file).only(("timeout", "parties", "tls", "align"))
    parties = top.table("parties")
    for name in parties:
        if name not in places:
            message = f"the bundle has no place {name!r}"
            raise parties.wrong(name, message, f"use one of: {', '.join(places)}")
        parties.table(name).only(_PARTY)
    addresses = {}
    for name in parties:
        if address := _address(parties.table(name), "address"):
            addresses[name] = address
    for one in places:
        for other in places:
            if one < other and one not in addresses and other not in addresses:
                message = f"neither {one} nor {other} has an address, so neither can dial the other"
                raise parties.wrong(place, message, f'write address = "host:port" in [parties.{one}]')
    own, align = parties.table(place), top.table("align").only(_ALIGN)
    hub = align.text("hub")
    if hub is not None and hub not in places:
        raise align.wrong("hub", f"the bundle has no place {hub!r}", f"use one of: {', '.join(places)}")
    return Deploy(
        place=place,
        addresses=addresses,
        listen=_address(own, "listen") or addresses.get(place),
        data=_data(own),
        certificate=own.file("certificate"),
        key=own.file("key"),
        authority=top.table("tls").only(("authority",)).file("authority"),
        method=align.one_of("method", METHODS, "aligned"),
        hub=hub,
        shared_key=align.file("key"),
        threads=align.integer("threads"),
        reading=align.number("reading", 0, READING),
        rows=align.integer("rows") or ROWS,
        timeout=top.number("timeout", 0, TIMEOUT),
        ledger=own.file("ledger"),
        device=own.one_of("device", DEVICES, DEVICES[0]),
        validation_data=_data(own, "validation_data"),
    )


def _address(table: TomlTable, key: str) -> str | None:
    value = table.text(key)
    if value is None:
        return None
    if (wrong := wrong_address(key, value)) is not None:
        raise table.wrong(key, *wrong)
    return value


def _data(table: TomlTable, key: str = "data") -> Below | None:
    """A source; files are looked for beside deploy.toml, and read there and below alone."""
    value = table.text(key)
    return None if value is None else Below(table.folder, value)
