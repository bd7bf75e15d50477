"""The rows that all parties have, found between processes, in the order of a run in one process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from vflc_common.control import ALIGN_CHECK

from vflc_runtime.alignment.exchange import Exchange, wrong
from vflc_runtime.alignment.handshake import NO_TOKEN, Handshake, confirm_key, meet
from vflc_runtime.alignment.hub import Hashed, Private, intersect
from vflc_runtime.alignment.kept import Kept
from vflc_runtime.alignment.keys import Ranks, SortedKeys
from vflc_runtime.alignment.points import PointThreads, library
from vflc_runtime.alignment.settings import AlignSettings, check_settings
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent


def align(
    method: str,
    place: str,
    peers: Sequence[str],
    keys: pa.Array | pa.ChunkedArray,
    exchange: Exchange,
    settings: AlignSettings | None = None,
    listen: Listener = silent,
) -> NDArray[np.int64]:
    """The positions of this party's rows whose keys all parties have, in the order of the keys.

    All parties with a table call it, with each other as peers. Keys are equal where their UTF-8 is,
    and sorted by it, as in `data.align`: the rows are those of a run in one process, in its order.

    Args:
        method: `aligned`: all have the same keys, which is checked; `hash`: by a shared key; `psi`:
            private set intersection.
        place: this party.
        peers: the other parties with a table; none where there is nobody to align with.
        keys: text, one a row, none missing or twice.
        exchange: the connections to the peers.
        settings: what this party chooses.
        listen: is told how far the computation is.

    Returns:
        int64 [common rows], rows of `keys`.

    Raises:
        Failure: VFL0605, 0606, 0612, 0616, 0660 to 0666, and those of the exchange.
    """
    settings, peers = settings or AlignSettings(), tuple(peers)
    check_settings(method, (place, *peers), settings)
    if method == "psi":
        library()
    own = SortedKeys(place, keys)
    if not peers:
        return own.order
    kept = None if settings.cache is None else Kept.open(settings.cache, method, place, peers, own)
    token = kept.token if kept is not None else None
    handshake = meet(method, place, peers, len(own), exchange, settings, token or NO_TOKEN)
    if handshake.kept and kept is not None and kept.positions is not None:
        common = np.sort(np.argsort(own.order)[kept.positions])
        _check_equal(own, common, handshake, method)
        return own.positions(common)
    common = _common(method, own, handshake, settings, listen)
    positions = own.positions(common)
    if kept is not None:
        kept.save(handshake.token, positions)
    return positions


def _common(
    method: str, own: SortedKeys, handshake: Handshake, settings: AlignSettings, listen: Listener
) -> Ranks:
    """The keys that all have, by one of the methods; all parties have made sure that they agree."""
    if method == "aligned":
        common = np.arange(len(own), dtype=np.int64)
        for peer, link in handshake.links.items():
            if link.rows != len(own):
                raise _different(f"{handshake.place} has {len(own)} rows and {peer} has {link.rows}")
    elif method == "hash":
        key = settings.key or b""
        confirm_key(handshake, key)
        common = intersect(own, handshake, Hashed(own, handshake, key))
    else:
        with PointThreads(settings.threads) as pool:
            common = intersect(own, handshake, Private(own, pool, listen))
    if not len(common):
        raise Failure(
            "VFL0606",
            f"no key of {handshake.place} is also at {' and '.join(handshake.links)}",
            "use the same keys for the same rows at every party; keys are compared as text",
        )
    _check_equal(own, common, handshake, method)
    return common


def _check_equal(own: SortedKeys, common: Ranks, handshake: Handshake, method: str) -> None:
    """All parties hold the same keys, or none goes on."""
    digest = own.digest(handshake.salt, common)
    for link in handshake.links.values():
        link.tell(ALIGN_CHECK, digest)
    for peer, link in handshake.links.items():
        if link.hear(ALIGN_CHECK, ALIGN_CHECK.bytes) != digest:
            if method == "aligned":
                raise _different(
                    f"{handshake.place} and {peer} have {len(own)} rows each, with different keys"
                )
            raise wrong(peer, "it found different common rows")


def _different(how: str) -> Failure:
    return Failure(
        "VFL0661",
        f"the tables are not aligned: {how}",
        "give tables with the same keys, or align them by hash or psi",
    )
