"""`release` and `accept`: what may leave a party, and findings waived in writing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from vflc.diagnostics import Span
from vflc.diagnostics.codes import CODES
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.model import PartyInfo
from vflc.ir.release import Acceptance, Grant, Limit, Release
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.grants import GrantReader, Word, spelled, text
from vflc.passes.lower.targets import IdsOfValue, look_up, lower_target, nodes_in
from vflc.passes.lower.values import Scope
from vflc.syntax import tree
from vflc.syntax.clauses import limits_of

FORMS = (
    "`to bob: Age, liked at most epsilon 4`",
    "`never to bob: Gender`",
    "`bob knows Age`",
    "`activations at most 64 floats a row`",
    "`gradients at most 64 floats a row`",
    "`only a.deep, a.first`",
    "`only to bob, carol`",
    "`never Gender, Age`",
)
EVIDENCE = frozenset(f"VFL03{number}" for number in (10, 11, 20, 21, 22, 23, 24, 27))
"""Codes of earlier versions for ways to learn that stand beside the bounds now."""
FEWEST_WORDS = 3
"""Words that a sentence has at least."""


def lower_release(
    ev: Evaluator,
    item: tree.ReleaseStatement,
    scope: Scope,
    parties: Mapping[str, PartyInfo],
    ids: IdsOfValue,
) -> Release | None:
    """The limits of one `release`; None where the party is unknown, which is reported."""
    party = parties.get(item.party.text)
    if party is None:
        near = did_you_mean(item.party.text, parties)
        help = f"did you mean `{near}`?" if near else f"use one of: {', '.join(parties)}"
        ev.error("VFL0403", f"there is no party `{item.party.text}`", item.party.span, help)
        return None
    reader = _Reader(ev, scope, party, tuple(parties), ids)
    limits: list[Limit] = []
    grants: list[Grant] = []
    for parts in limits_of(item):
        for found in reader.read(parts):
            if isinstance(found, Grant):
                grants.append(found)
            else:
                limits.append(found)
    if any(each.population for each in parties.values()):
        for limit in limits:
            if limit.kind != "never":
                help = (
                    "say what may be learned, with `to` and `never`; `clip_norm` and `noise` limit an update"
                )
                ev.error("VFL0502", "a client update has no edges to limit", limit.span, help)
    if not item.clauses:
        ev.error("VFL0308", "this release is empty", item.span, f"as in: {FORMS[0]}")
    return Release(party.name, tuple(limits), item.party.span, tuple(grants))


def lower_accept(
    ev: Evaluator, item: tree.Accept, scope: Scope, places: tuple[str, ...], ids: IdsOfValue
) -> Acceptance | None:
    """A waiver; None after a mistake. Whether there is anything to waive is known after the analysis."""
    target = lower_target(ev, item.target, scope, places, ids)
    code = item.code.text
    if code in EVIDENCE:
        help = "grant what may be learned instead: `vflc check --fix` writes it"
        ev.error("VFL0307", f"`{code}` is now evidence and needs no waiver", item.span, help)
        return None
    if code not in CODES:
        near = did_you_mean(code, CODES)
        help = f"did you mean `{near}`?" if near else "copy the code from the first line of the finding"
        ev.error("VFL0307", f"there is no code `{code}`", item.code.span, help)
        return None
    reason = " ".join(item.reason.value.split()) if item.reason is not None else ""
    if len(re.findall(r"[^\W\d_]+", reason)) < FEWEST_WORDS:
        what = "gives a reason that is not a sentence" if reason else "gives no reason"
        help = 'say why: accept … because "the label\'s owner has licensed the model to alice"'
        ev.error("VFL0306", f"`accept {code}` {what}", item.span, help)
        return None
    return Acceptance(code, target, reason, item.span) if target else None


def _spelled(words: tree.Clause) -> Iterator[Word]:
    return (one for word in words for one in spelled(word))


def _word(word: Word) -> str | None:
    return word.text if isinstance(word, tree.Name) else None


class _Reader:
    """Reads the clauses of one party's release."""

    def __init__(
        self, ev: Evaluator, scope: Scope, party: PartyInfo, places: tuple[str, ...], ids: IdsOfValue
    ) -> None:
        self.ev, self.scope, self.party, self.places, self.ids = ev, scope, party, places, ids

    def read(self, parts: list[tree.Clause]) -> Sequence[Limit | Grant]:
        """What the clauses of one list say together."""
        grants = GrantReader(self.ev, self.party, self.places, self._malformed)
        clause: tree.Clause = sum(parts, ())
        match [_word(word) for word in clause]:
            case ["to", _, *_]:
                return grants.grants(parts)
            case ["never", "to", _, *_]:
                return _some(grants.denied(parts))
            case [_, "knows", _, *_]:
                return grants.known(parts)
            case _:
                return _some(self._limit(clause, grants))

    def _limit(self, clause: tree.Clause, grants: GrantReader) -> Limit | None:
        span = clause[0].span.to(clause[-1].span)
        match [_word(word) for word in clause]:
            case ["activations" | "gradients" as kind, "at", "most", None, "floats", "a", "row"]:
                return self._floats(kind, clause[3], span)
            case ["only", "to", _, *_]:
                receivers = [name for word in clause[2:] if (name := grants.receiver(word)) is not None]
                return Limit("party", span, names=tuple(receivers)) if receivers else None
            case ["only", first, *_] if first != "to" and all(map(text, _spelled(clause))):
                return self._edges(clause[1:], span)
            case ["never", _, *_]:
                names = [name for word in clause[1:] for name in grants.columns(word)]
                return Limit("never", span, names=tuple(names)) if names else None
        self._malformed(span)
        return None

    def _malformed(self, span: Span) -> None:
        help = f"write one of {', '.join(FORMS)}"
        self.ev.error("VFL0308", "this is not a clause of a release", span, help)

    def _floats(self, kind: Any, word: Word, span: Span) -> Limit | None:
        value = word.value if isinstance(word, tree.Number) else None
        if not isinstance(value, int) or isinstance(value, bool):
            self.ev.error("VFL0205", "the number of floats must be a whole number", word.span)
            return None
        chosen: Literal["activations", "gradients"] = kind
        return Limit(chosen, span, floats=value)

    def _edges(self, words: tree.Clause, span: Span) -> Limit:
        """Names that are no values of the spec may be ids of edges: see `lower_target`."""
        names, values = [], []
        for word in _spelled(words):
            expr = tree.Ref(word.text, word.span) if isinstance(word, tree.Name) else word
            found = nodes_in(look_up(self.ev, expr, self.scope))
            values.append(tuple(dict.fromkeys(self.ids(node.id) for node in found)))
            names.append(text(word))
        return Limit("edge", span, names=tuple(names), values=tuple(values))


def _some(limit: Limit | None) -> list[Limit]:
    return [] if limit is None else [limit]
