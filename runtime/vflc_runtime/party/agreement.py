"""Before anything runs: do all parties mean the same run, and from which checkpoint does it go on?"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from vflc_common.words import DEFAULT_BACKEND, KERAS_FOLDER

from vflc_runtime.errors import PEER, Failure
from vflc_runtime.party.peers import Peers, wrong
from vflc_runtime.run.state import KEPT

START = "start"
"""Stands among the checkpoints for the state before the first step."""


def compare(
    peers: Peers, terms: Mapping[str, Any], reads: str = DEFAULT_BACKEND, keras: str | None = None
) -> str:
    """Tells all what this party runs, and compares; returns a name of this start that all know.

    The manifest's digest is the same whatever backends a party has, so that Keras files are not
    under it: where any party runs them, all must have compiled them, and to the same.

    Args:
        peers: the others.
        terms: what must be the same everywhere, by the words that a message has for it, the most
            telling first.
        reads: which of a bundle's files this party's engine runs.
        keras: the digest of the Keras files that it has.

    Raises:
        Failure: VFL0650 with the first difference, at both sides.
    """
    nonce = secrets.token_hex(8)
    mine = {"reads": reads, "keras": keras}
    peers.tell_json("hello", {**terms, **mine, "nonce": nonce})
    heard = {peer: peers.hear_json(peer, "hello") for peer in peers.senders("hello")}
    place = peers.network.place
    for peer, told in heard.items():
        for name, own in terms.items():
            if told.get(name) != own:
                raise differs(name, place, own, peer, told.get(name))
        if KERAS_FOLDER in (reads, told.get("reads")) and (keras is None or told.get("keras") != keras):
            raise differs("keras", place, keras, peer, told.get("keras"))
        if set(told) != {*terms, *mine, "nonce"} or not isinstance(told["nonce"], str):
            raise wrong(peer, "hello", "has settings that this version does not know")
    nonces = sorted([nonce, *(told["nonce"] for told in heard.values())])
    return hashlib.sha256("/".join(nonces).encode()).hexdigest()[:16]


def differs(name: str, place: str, own: Any, peer: str, told: Any) -> Failure:
    """VFL0650: two parties are about to run something different."""
    return Failure(
        "VFL0650",
        f"{name} is {_shown(own)} at {place!r} and {_shown(told)} at {peer!r}",
        _HELP.get(name, "start all parties with the same options"),
        exit_code=PEER,
    )


_HELP = {
    "digest": "compile the same spec with the same version at both, and compare manifest.md",
    "keras": "a party runs the Keras files, so all compile them: `vflc compile SPEC --backend all`, with the "
    "same version of TensorFlow",
    "from": "give all parties --from: the same file, or each its own folder of the same run",
    "version": "install the same version of vflc at both",
    "rows": "align the tables by hash or psi: they do not have the same rows (see docs/alignment.md)",
}


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)[:80]


def agree_rows(peers: Peers, rows: int | None, held: Iterable[str], may_start: bool) -> tuple[int, str]:
    """The number of rows, and the last checkpoint that all hold.

    Args:
        peers: the others.
        rows: this party's; None where it has no table.
        held: names of its checkpoints, the oldest first.
        may_start: whether the state before the first step will do, where it is not lost yet.

    Raises:
        Failure: VFL0650 where rows differ, VFL0651 where no checkpoint is held by all.
    """
    mine = [*held]
    if may_start and len(mine) < KEPT:  # nobody drops a checkpoint before all have a later one
        mine.insert(0, START)
    peers.tell_json("ready", {"rows": rows, "checkpoints": mine})
    common = set(mine)
    place, theirs = peers.network.place, {}
    for peer in peers.senders("ready"):
        told = peers.hear_json(peer, "ready")
        count, names = told.get("rows"), told.get("checkpoints")
        if not isinstance(names, list) or isinstance(count, bool) or not isinstance(count, (int, type(None))):
            raise wrong(peer, "ready", "does not say how many rows or which checkpoints")
        theirs[peer] = names
        common &= set(names)
        if rows is not None and count not in (None, rows):
            raise differs("rows", place, rows, peer, count)
        rows = count if rows is None else rows
    if rows is None or rows < 1:
        raise wrong(next(iter(theirs)), "ready", "leaves nobody with rows")
    if not common:
        raise _nothing_common(place, mine, theirs)
    return rows, next(name for name in reversed(mine) if name in common)


def _nothing_common(place: str, mine: list[str], theirs: Mapping[str, list[str]]) -> Failure:
    listed = ", ".join(
        f"{name} has {' and '.join(_short(each) for each in names) or 'none'}"
        for name, names in {place: mine, **theirs}.items()
    )
    return Failure(
        "VFL0651",
        f"there is no checkpoint that all parties have: {listed}",
        "restore the run's folder at the party that lacks it, or start again with --overwrite at all parties",
        exit_code=PEER,
    )


def _short(name: str) -> str:
    """`step-0000000120-epoch-00002-…` as people say it; anything else, as it came, is cut short."""
    match = re.match(r"step-0*(\d{1,15})-epoch-", name)
    return f"step {match[1]}" if match else ascii(name[:40])
