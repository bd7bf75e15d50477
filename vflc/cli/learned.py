"""Who may learn what, for a terminal: a paragraph for each receiver and party."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from textwrap import TextWrapper

from vflc_common.bound import Bound

from vflc.emit.manifest.learned import by_receiver, held_anyway
from vflc.ir.learn import Evidence, Learned

WIDE = 100
TOLD = 3
"""Ways to learn that are told for each receiver and party."""


def paragraphs(rows: Iterable[Learned], evidence: Sequence[Evidence] = (), width: int | None = None) -> str:
    """What each receiver may learn at most, the most first, and what is known to reveal it."""
    if width is None:
        width = min(shutil.get_terminal_size().columns, WIDE) if sys.stdout.isatty() else WIDE
    return "\n".join(_lines(rows, evidence, width))


def _lines(rows: Iterable[Learned], evidence: Sequence[Evidence], width: int) -> Iterator[str]:
    yield "Who may learn what, at most"
    for (receiver, party), members in by_receiver(rows).items():
        by_bound: dict[str, list[Learned]] = {}
        for row in members:
            by_bound.setdefault(_words(row.bound), []).append(row)
        yield f" {'other users' if receiver == party else receiver} of {party}'s columns"
        for words, same in by_bound.items():
            wrap = TextWrapper(width, f"   {words}: ", "     ", break_long_words=False)
            yield from wrap.wrap(", ".join(row.column + _more(row) for row in same))
        told = [
            each.says
            for each in evidence
            if each.receiver == receiver and any(source.party == party for source in each.sources)
        ]
        for says in told[:TOLD]:
            yield from TextWrapper(width, "   known to reveal: ", "     ", break_long_words=False).wrap(says)
        if len(told) > TOLD:
            yield f"   and {len(told) - TOLD} more ways in manifest.md"


def _words(bound: Bound) -> str:
    if bound.kind == "code":
        return "their codes"
    return f"at most {bound}" if bound.kind == "epsilon" else str(bound)


def _more(row: Learned) -> str:
    """In brackets the bits of a code, and what the receiver has in any case."""
    told = _bits(row.bound) + held_anyway(row.held)
    return f" ({told.removeprefix('; ')})" if told else ""


def _bits(bound: Bound) -> str:
    if bound.kind != "code":
        return ""
    return "any number of ids" if bound.bits is None else f"{bound.bits:.3g} bit{'s' * (bound.bits != 1)}"
