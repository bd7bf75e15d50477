"""Before anything runs: do all parties mean the same run, and from which checkpoint does it go on?"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vflc_common.words import DEFAULT_BACKEND, KERAS_FOLDER

from vflc_runtime.errors import PEER, Failure
from vflc_runtime.party.peers import Peers, wrong
from vflc_runtime.run.state import KEPT

START = "start"
"""Stands among the checkpoints for the state before the first step."""


def compare(
    peers: Peers,
    terms: Mapping[str, Any],
    reads: str = DEFAULT_BACKEND,
    keras: str | None = None,
    tables: Mapping[str, Any] | None = None,
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
        tables: further terms, of places that have a table: None is no word on it.

    Raises:
        Failure: VFL0650 with the first difference, at both sides.
    """
    nonce = secrets.token_hex(8)
    of_tables = tables or {}
    mine = {"reads": reads, "keras": keras, **of_tables}
    peers.tell_json("hello", {**terms, **mine, "nonce": nonce})
    heard = {peer: peers.hear_json(peer, "hello") for peer in peers.senders("hello")}
    place = peers.network.place
    for peer, told in heard.items():
        for name, own in terms.items():
            if told.get(name) != own:
                raise differs(name, place, own, peer, told.get(name))
        for name, own in of_tables.items():
            if None not in (own, told.get(name)) and told[name] != own:
                raise differs(name, place, own, peer, told[name])
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
    "fold": "give all parties the same folds; if one was interrupted between two of them, start all again "
    "with --resume",
    "from": "give all parties --from: the same file, or each its own folder of the same run",
    "validation data": "give a table of rows to validate with at all parties that have a table, or at none",
    "version": "install the same version of vflc at both",
    "rows": "align the tables by hash or psi: they do not have the same rows (see docs/alignment.md)",
}


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)[:80]


class Agreed(NamedTuple):
    """The number of rows, the last checkpoint that all hold, and how many rows come from tables to validate
    with; None without such tables."""

    rows: int
    checkpoint: str
    apart: int | None


def agree_rows(
    peers: Peers, rows: int | None, held: Iterable[str], may_start: bool, apart: int | None = None
) -> Agreed:
    """The number of rows, and the last checkpoint that all hold.

    Args:
        peers: the others.
        rows: this party's; None where it has no table.
        held: names of its checkpoints, the oldest first.
        may_start: whether the state before the first step will do, where it is not lost yet.
        apart: how many of them come from a table of rows to validate with; None where there is none.

    Raises:
        Failure: VFL0650 where rows differ, VFL0651 where no checkpoint is held by all.
    """
    mine = [*held]
    if may_start and len(mine) < KEPT:  # nobody drops a checkpoint before all have a later one
        mine.insert(0, START)
    peers.tell_json("ready", {"rows": rows, "checkpoints": mine, "apart": apart})
    known = rows is not None
    common = set(mine)
    place, theirs = peers.network.place, {}
    for peer in peers.senders("ready"):
        told = peers.hear_json(peer, "ready")
        count, names, more = told.get("rows"), told.get("checkpoints"), told.get("apart")
        if not isinstance(names, list) or not _is_count(count) or not _is_count(more):
            raise wrong(peer, "ready", "does not say how many rows or which checkpoints")
        theirs[peer] = names
        common &= set(names)
        if rows is not None and count not in (None, rows):
            raise differs("rows", place, rows, peer, count)
        if known and count is not None and more != apart:
            raise differs("validation rows", place, apart, peer, more)
        rows, apart = (count, more) if rows is None else (rows, apart)
    if rows is None or rows < 1:
        raise wrong(next(iter(theirs)), "ready", "leaves nobody with rows")
    if not common:
        raise _nothing_common(place, mine, theirs)
    if apart is not None and not 0 < apart < rows:
        raise wrong(next(iter(theirs)), "ready", "has no rows to train on, or none to validate with")
    return Agreed(rows, next(name for name in reversed(mine) if name in common), apart)


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


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
