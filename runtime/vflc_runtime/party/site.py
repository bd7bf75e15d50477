"""What a party brings along, and how it stays in a run whose other processes may begin anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vflc_runtime.alignment.settings import AlignSettings, check_settings
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.data.batches import EVALUATION_BATCH
from vflc_runtime.data.source import TableSource
from vflc_runtime.errors import Failure
from vflc_runtime.events import BeganAgain, Listener
from vflc_runtime.party.joined import attending
from vflc_runtime.party.peers import Peers
from vflc_runtime.party.rows import PlaceRows
from vflc_runtime.transport.network import Ended, Network, Restarted

Connect = Callable[[Manifest, int], Network]
"""Makes the network of a place, not yet open, for a bundle whose largest batch has so many rows."""
T = TypeVar("T")
_NOTICE = 3.0
"""Seconds that a party takes at most to reach those who may be waiting for it."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a party brings along, besides its bundle.

    Args:
        place: its name.
        source: its table; None at a place without one.
        connect: makes its network.
        method: how keys are aligned: `aligned`, `hash` or `psi`.
        align: what else that needs.
        engine: `onnx`, `keras`, or `cuda`, which is `onnx` on a GPU.
        threads: threads an operator may use; a core each where None.
        listen: is told how it goes.
        ledger: the folder of its ledger; `ledger` beside the run's where None.
        apart: its table of the rows to validate with, in place of a part of the others; None without.
    """

    place: str
    source: TableSource | None
    connect: Connect
    method: str
    align: AlignSettings
    engine: str
    threads: int | None
    listen: Listener
    ledger: Path | None = None
    apart: TableSource | None = None

    def sources(self, bundle: Bundle) -> dict[str, TableSource]:
        """The table by its party, as loading wants it; VFL0618 where there is none but must be."""
        if bool(bundle.parties) == (self.source is not None):
            return {} if self.source is None else {self.place: self.source}
        if self.source is None:
            raise Failure(
                "VFL0618",
                f"no data is given for {self.place}",
                f'write data = "…" in [parties.{self.place}] of deploy.toml, or give --data',
            )
        raise Failure("VFL0618", f"data is given for {self.place}, which reads no table here", "leave it out")


def take_part(
    site: Site, bundle: Bundle, batch: int, once: Callable[[Peers, PlaceRows], T], resumes: bool = False
) -> tuple[T, dict[str, Any]]:
    """Runs `once` with the others, from its beginning whenever one of them began anew.

    Args:
        site: what this party brings along.
        bundle: with the plan of this place.
        batch: rows of the largest batch.
        once: what to do; it is interrupted anywhere by `Restarted`.
        resumes: whether it goes on from a checkpoint, when all are started again.

    Returns:
        What `once` gave, and by peer the bytes and the seconds that went into talking to it.
    """
    others = set(bundle.manifest.places) - {site.place}
    if others and not bundle.manifest.controls:
        raise damaged(f"{bundle.folder} declares no control messages: it is of an older version")
    if others and site.source is not None:  # what is wrong here need not wait for a peer
        check_settings(site.method, bundle.manifest.places, site.align)
    network = site.connect(bundle.manifest, max(batch, EVALUATION_BATCH))
    network.report_to(site.listen)
    peers = Peers(network, bundle.manifest)
    rows = PlaceRows(peers, bundle, site.method, site.align, site.listen)
    with attending(network, resumes):
        while True:
            try:
                return once(peers, rows), spent(network)
            except Restarted as again:
                site.listen(BeganAgain(again.peer))
                network.renew()


@contextmanager
def giving_notice(site: Site, manifest: Manifest) -> Iterator[None]:
    """Where a party that comes back fails before it takes part: whoever waits for it learns that at once."""
    try:
        yield
    except Failure:
        with suppress(Failure, Ended, Restarted):
            network = site.connect(manifest, EVALUATION_BATCH)
            try:
                network.open(_NOTICE)
            finally:
                network.close("failed")
        raise


def spent(network: Network) -> dict[str, Any]:
    """By peer, the seconds this place waited for it, and for which messages, and the bytes on the wire.

    Bytes are counted before encryption.
    """
    return {
        peer: {
            "waited": round(network.waited[peer], 3),
            "messages": {name: round(each, 3) for name, each in sorted(network.waited_for[peer].items())},
            "sent": each.wire_out,
            "received": each.wire_in,
        }
        for peer, each in network.traffic.items()
    }
