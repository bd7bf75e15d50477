"""Control messages to and from the peers: what the manifest declares, no kind and no byte more."""

from __future__ import annotations

import json
from typing import Any

from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.transport.network import Network

PATIENCE = 3600.0
"""Seconds to wait for a peer that may be at work on its data, its model or its disk. A link that is
down, and a peer that does not answer, are noticed within the network's own timeout."""


class Peers:
    """The other places of a run, as far as control messages go."""

    def __init__(self, network: Network, manifest: Manifest) -> None:
        self.network, self.manifest = network, manifest
        own = [each for each in manifest.controls if network.place in (each.sender, each.receiver)]
        self._out = {(each.receiver, each.kind) for each in own if each.sender == network.place}
        self._in = {(each.sender, each.kind): each.bytes for each in own if each.receiver == network.place}

    def receivers(self, kind: str) -> tuple[str, ...]:
        """Whom this place may tell `kind`, in the manifest's order."""
        return tuple(peer for peer in self.manifest.places if (peer, kind) in self._out)

    def senders(self, kind: str) -> tuple[str, ...]:
        """Who may tell this place `kind`, in the manifest's order."""
        return tuple(peer for peer in self.manifest.places if (peer, kind) in self._in)

    def tell(self, kind: str, payload: bytes) -> None:
        """Tells it to all who may hear it."""
        for peer in self.receivers(kind):
            self.network.tell(peer, kind, payload)

    def tell_number(self, kind: str, number: int) -> None:
        self.tell(kind, number.to_bytes(8, "big"))

    def hear(self, peer: str, kind: str) -> bytes:
        """The next `kind` of a peer."""
        return self.network.hear(peer, kind, self._in[peer, kind], PATIENCE)

    def hear_number(self, peer: str, kind: str) -> int:
        payload = self.hear(peer, kind)
        if len(payload) != 8:
            raise wrong(peer, kind, f"has {len(payload)} bytes instead of 8")
        return int.from_bytes(payload, "big")

    def tell_json(self, kind: str, content: Any) -> None:
        self.tell(kind, json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode())

    def hear_json(self, peer: str, kind: str) -> dict[str, Any]:
        """An object of plain values and lists of texts; anything else is refused."""
        try:
            content = json.loads(self.hear(peer, kind))
        except (ValueError, RecursionError):
            raise wrong(peer, kind, "is not JSON") from None
        if not isinstance(content, dict) or not all(_plain(value) for value in content.values()):
            raise wrong(peer, kind, "is no object of plain values")
        return content


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str) for each in value)
    return value is None or isinstance(value, (str, int, float, bool))


def wrong(peer: str, kind: str, what: str) -> Failure:
    """VFL0655: a control message that no party sends who runs this program."""
    return Failure(
        "VFL0655",
        f"{peer!r} sent a control message {kind!r} that {what}",
        "run the same version at all parties; if they already do, do not continue with this peer",
        exit_code=PEER,
    )
