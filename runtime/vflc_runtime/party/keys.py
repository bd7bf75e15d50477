"""Public keys for masked sums: each place that adds to one tells its own to the others that do."""

from __future__ import annotations

from vflc_common.control import MASK_KEY

from vflc_runtime.party.peers import Peers
from vflc_runtime.run.session import Session


def exchange_keys(peers: Peers, session: Session) -> None:
    """Gives the place of `session` its peers' public keys; nothing where it adds to no masked sum.

    Raises:
        Failure: VFL0615, what a peer told is no key.
    """
    for executor in session.executors.values():
        masks = executor.masks
        if masks.peers:
            peers.tell(MASK_KEY.name, masks.public())
            masks.agree({peer: peers.hear(peer, MASK_KEY.name) for peer in peers.senders(MASK_KEY.name)})
