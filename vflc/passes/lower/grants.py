"""What a `release` grants: which columns a receiver may learn, within which bound, in which phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace
from vflc_common.words import PROGRAM_WORDS

from vflc.diagnostics import Span
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.model import PartyInfo
from vflc.ir.release import Grant, Limit
from vflc.passes.learn.columns import folded
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.targets import path_text
from vflc.syntax import tree
from vflc.syntax.expressions import members

Word = tree.Expr | tree.Name
PHASES = {phase: program for program, phase in PROGRAM_WORDS.items()}


def text(word: Word) -> str:
    """A name or path as it is written; nothing for a number or a string."""
    if isinstance(word, tree.Name):
        return word.text
    return path_text(word) if isinstance(word, (tree.Attribute, tree.Ref)) else ""


def spelled(word: Word) -> Iterator[Word]:
    """What a word stands for: a family, `C{1..3}`, for its members."""
    if not isinstance(word, tree.Family):
        yield word
        return
    for name in members(word.prefix.text, word.low, word.high):
        one = tree.Name(name, word.span)
        yield tree.Attribute(word.value, one, word.span) if word.value is not None else one


class GrantReader(Struct, frozen=True):
    """Reads the grants of one party's release.

    Args:
        malformed: reports words that are no clause of a release.
    """

    ev: Evaluator
    party: PartyInfo
    places: tuple[str, ...]
    malformed: Callable[[Span], None]

    def grants(self, parts: list[tuple[Word, ...]]) -> list[Grant]:
        """`to bob: Age, liked at most epsilon 4 in training`."""
        receivers, items = self._split(parts, 1)
        found = [grant for item in items for grant in self._item(item)]
        return [replace(grant, receiver=receiver) for receiver in receivers for grant in found]

    def denied(self, parts: list[tuple[Word, ...]]) -> Limit | None:
        """`never to bob: Age`."""
        receivers, items = self._split(parts, 2)
        span = parts[0][0].span.to(parts[-1][-1].span)
        for item in items:
            if len(item) > 1:
                self.malformed(item[0].span.to(item[-1].span))
                return None
        names = [name for item in items for name in self.columns(item[0])]
        return Limit("never", span, names=tuple(names), to=receivers) if names and receivers else None

    def known(self, parts: list[tuple[Word, ...]]) -> list[Grant]:
        """`bob knows liked`: what the receiver holds anyway."""
        receiver = self.receiver(parts[0][0])
        words = [*parts[0][2:], *(word for part in parts[1:] for word in part)]
        if receiver is None:
            return []
        return [
            Grant(self.party.name, receiver, name, word.span, held=True)
            for word in words
            for name in self.columns(word)
        ]

    def _split(
        self, parts: list[tuple[Word, ...]], skipped: int
    ) -> tuple[tuple[str, ...], list[tuple[Word, ...]]]:
        """Receivers before the colon, columns with their bounds behind it."""
        named: list[Word] = []
        items: list[tuple[Word, ...]] = []
        before = True
        for index, part in enumerate(parts):
            words = part[skipped:] if index == 0 else part
            if before and tree.COLON in map(text, words):
                at = [text(word) for word in words].index(tree.COLON)
                named += words[:at]
                words, before = words[at + 1 :], False
                if words:
                    items.append(words)
            elif before:
                named += words
            else:
                items.append(words)
        if before or not items or not named:
            self.malformed(parts[0][0].span.to(parts[-1][-1].span))
            return (), []
        found = [name for word in named if (name := self.receiver(word)) is not None]
        return tuple(dict.fromkeys(found)), items

    def receiver(self, word: Word) -> str | None:
        if (name := text(word)) in self.places:
            return name
        near = did_you_mean(name, self.places)
        help = f"did you mean `{near}`?" if near else f"use one of: {', '.join(self.places)}"
        self.ev.error("VFL0403", f"there is no party `{name}`", word.span, help)
        return None

    def _item(self, words: tuple[Word, ...]) -> list[Grant]:
        """One column, or each of a family, with its bound and phase."""
        names = self.columns(words[0])
        if len(words) == 1:
            return [Grant(self.party.name, "", name, words[0].span) for name in names]
        grant = Grant(self.party.name, "", "", words[0].span.to(words[-1].span))
        rest, clauses = list(words[1:]), set[str]()
        while rest:
            kind = "epsilon" if [text(word) for word in rest[2:3]] == ["epsilon"] else text(rest[0])
            if kind in clauses:
                message = f"`{text(rest[0])} …` is given twice for one column"
                help = "grant it twice for two phases: `to bob: Age in training, Age in prediction`"
                self.ev.error("VFL0343", message, rest[0].span.to(rest[-1].span), help)
                return []
            clauses.add(kind)
            match [text(word) for word in rest[:4]]:
                case ["at", "most", "epsilon", _] if (number := _number(rest[3])) is not None:
                    grant, rest = replace(grant, epsilon=number), rest[4:]
                case ["at", "most", _, "bit" | "bits"] if (number := _number(rest[2])) is not None:
                    grant, rest = replace(grant, bits=number), rest[4:]
                case ["in", phase, *_] if phase in PHASES:
                    grant, rest = replace(grant, programs=(PHASES[phase],)), rest[2:]
                case ["in", phase]:
                    near = did_you_mean(phase, PHASES)
                    help = f"did you mean `{near}`?" if near else f"use one of: {', '.join(PHASES)}"
                    self.ev.error("VFL0308", f"there is no phase `{phase}`", rest[1].span, help)
                    return []
                case _:
                    self.malformed(rest[0].span.to(rest[-1].span))
                    return []
        return [replace(grant, column=name) for name in names]

    def columns(self, word: Word) -> list[str]:
        """Columns that the spec declares, by their name or that of their family."""
        found = []
        for one in spelled(word):
            name = text(one).removeprefix(f"{self.party.name}.")
            if self.party.column(name) is None:
                self._unknown(name, word)
                return []
            found.append(name)
        return found

    def _unknown(self, name: str, word: Word) -> None:
        known = folded((column.name for column in self.party.columns), self.party)
        family = [column.name for column in self.party.columns if column.family == name]
        near = folded(family, self.party)[0] if family else did_you_mean(name, known)
        help = f"did you mean `{near}`?" if near else f"use one of: {', '.join(known[:20]) or 'none'}"
        if name in self.party.key:
            help = "leave the key out: alignment decides what is revealed of it (docs/alignment.md)"
        self.ev.error("VFL0105", f"{self.party.name} has no column `{name}`", word.span, help)


def _number(word: Word) -> float | None:
    value = word.value if isinstance(word, tree.Number) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
