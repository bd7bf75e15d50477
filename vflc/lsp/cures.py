"""By code the edits that mend a finding: what its help tells to do, where that is mechanical.

A cure only proposes; `vflc.lsp.mending` offers what is gone with it. Cures read the text, not the tree: a
statement with a mistake in it may be in no tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec import Struct
from vflc_common.text import is_name

from vflc.diagnostics import Diagnostic
from vflc.lsp import names
from vflc.lsp.analysis import Document
from vflc.lsp.positions import TextChange
from vflc.syntax import tree
from vflc.syntax.hidden import looks
from vflc.syntax.names import identifier

_MEANT = re.compile(r"did you mean `([^`\n]+)`\?")
_QUOTED = re.compile(r"`([^`\n]+)`")
_TYPE = re.compile(r"\s*:\s*[^\W\d]\w*(\([^)\n]*\))?")


class Cure(Struct, frozen=True):
    """Edits, and what they do, as an editor lists it."""

    title: str
    edits: tuple[TextChange, ...]


def cures(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """What may mend a finding; of a code without a cure of its own, the word that was meant."""
    for make in (_meant, *CURES.get(found.code, ())):
        yield from make(document, found)


# --- words ----------------------------------------------------------------------------------------


def _meant(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """The word that was meant in place of the one that the finding is about."""
    meant = _MEANT.search(found.help or "")
    if meant is None or found.span is None:
        return
    last = re.search(r"[^\W\d]\w*$", found.span.text)
    start = found.span.start
    if "." not in meant[1] and last is not None:  # of `alice.Agee` the column alone
        start += last.start()
    yield _write(start, found.span.end, meant[1])


def _write(start: int, end: int, text: str) -> Cure:
    return Cure(f"Write `{text}`", (TextChange(start, end, text),))


def _told(pattern: str) -> CureMaker:
    """Writes in place of the finding what its help names, in the group of a pattern."""

    def make(document: Document, found: Diagnostic) -> Iterator[Cure]:
        told = re.search(pattern, found.help or "")
        if told is not None and found.span is not None:
            yield _write(found.span.start, found.span.end, told[1])

    return make


def _instead(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """In place of the word in quotes in the message one of those in the help."""
    wrong, right = _QUOTED.search(found.message), _QUOTED.findall(found.help or "")
    if wrong is None or found.span is None:
        return
    for place in re.finditer(rf"\b{re.escape(wrong[1])}\b", found.span.text):
        start = found.span.start + place.start()
        yield from (_write(start, start + len(wrong[1]), each) for each in right)


def _who_receives(document: Document, found: Diagnostic) -> Iterator[Cure]:
    wrong = re.search(r"go to (\w+)", found.message)
    place = re.search(rf"\bto ({wrong[1]})\b", found.span.text) if found.span and wrong else None
    if place is not None and found.span is not None:
        for name in re.findall(r"\w+", (found.help or "").removeprefix("gradients go to ")):
            if name in names.parties(document.spec):
                yield _write(found.span.start + place.start(1), found.span.start + place.end(1), name)


def _word(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """Takes the word that begins a statement out."""
    told = re.match(r"remove `(\w+)`", found.help or "")
    if told is not None and found.span is not None and found.span.text.startswith(told[1]):
        end = found.span.end - len(found.span.text.removeprefix(told[1]).lstrip())
        yield Cure(f"Remove `{told[1]}`", (TextChange(found.span.start, end, ""),))


def _one_alphabet(document: Document, found: Diagnostic) -> Iterator[Cure]:
    if found.span is not None and is_name(plain := looks(found.span.text)) and plain.isascii():
        yield _write(found.span.start, found.span.end, plain)


def _escaped(document: Document, found: Diagnostic) -> Iterator[Cure]:
    if found.span is not None:
        yield _write(found.span.start, found.span.end, "\\" + found.span.text)


# --- what is missing, or too much -----------------------------------------------------------------


def _remove(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """Takes out what the finding is about, where its help begins so, with the line that it leaves empty."""
    if found.span is not None and (found.help or "").startswith("remove"):
        start, end = _whole(document.text, found.span.start, found.span.end)
        yield Cure("Remove it", (TextChange(start, end, ""),))


def _comma(document: Document, found: Diagnostic) -> Iterator[Cure]:
    if found.span is not None and "is a comma missing before" in (found.help or ""):
        before = len(document.text[: found.span.start].rstrip())
        yield Cure("Insert a comma", (TextChange(before, before, ","),))


def _bracket(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """Closes at the end of a line, of the statement, or where it was noticed."""
    told = re.match(r"add `(.)`", found.help or "")
    if told is None or found.span is None:
        yield from _remove(document, found)
        return
    text, start = document.text, found.span.end
    places = [start] if told[1] in "{[(" or not found.span.text else []
    places += [len(text[: label.span.start].rstrip()) for label in found.labels if label.span.start > start]
    for line in re.finditer(r"[^\n]*", text[start:]):
        if line[0].strip():
            code = line[0].partition("#")[0].rstrip()
            places.append(start + line.start() + len(code))
            if code.endswith(","):
                places.append(places[-1] - 1)
        if len(places) > 8:
            break
    yield from (Cure(f"Add `{told[1]}`", (TextChange(place, place, told[1]),)) for place in places)


def _quote(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """Ends a string at the end of its line, or before what closes there."""
    if found.span is None:
        return
    text, start = document.text, found.span.start
    end = text.find("\n", start)
    line = text[start : len(text) if end < 0 else end].rstrip()
    while len(line) > 1:
        yield Cure("End the string", (TextChange(start + len(line), start + len(line), text[start]),))
        if line[-1] not in ")]},":
            return
        line = line[:-1].rstrip()


def _argument(name: str) -> CureMaker:
    """Takes an argument out of the call that the finding is about, or that the line has."""

    def make(document: Document, found: Diagnostic) -> Iterator[Cure]:
        if found.span is None:
            return
        text = found.span.text
        value = r"(?:\[[^\]]*\]|[^,()\[\]])+"
        for place in re.finditer(rf",\s*{name}\s*=\s*{value}|\b{name}\s*=\s*{value},\s*", text):
            start = found.span.start + place.start()
            yield Cure(f"Remove `{name}`", (TextChange(start, start + len(place[0]), ""),))

    return make


def _with_argument(pattern: str, added: str) -> CureMaker:
    """Puts an argument at the end of a call whose help says so."""

    def make(document: Document, found: Diagnostic) -> Iterator[Cure]:
        if found.span is None or re.search(pattern, found.help or "") is None:
            return
        inside = re.search(r"\(([^()]*)\)", found.span.text)
        if inside is not None:
            end = found.span.start + inside.end() - 1
            comma = ", " if inside[1].strip() else ""
            yield Cure(f"Add `{added}`", (TextChange(end, end, comma + added),))

    return make


def _given_twice(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """Takes the second of two arguments or fields of one name out."""
    if found.span is None:
        return
    text, end, depth = document.text, found.span.end, 0
    while end < len(text) and not (depth == 0 and text[end] in ",)}"):
        depth += (text[end] in "([{") - (text[end] in ")]}")
        end += 1
    start = len(text[: found.span.start].rstrip().removesuffix(","))
    yield Cure("Remove the second one", (TextChange(start, end, ""),))


def _to_the_front(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """A positional argument before those with names."""
    if found.span is None or not found.labels:
        return
    first, text = found.labels[0].span.start, document.text
    start = len(text[: found.span.start].rstrip().removesuffix(","))
    moved = TextChange(first, first, f"{found.span.text}, ")
    yield Cure("Move it to the front", (moved, TextChange(start, found.span.end, "")))


def _listed_twice(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """Takes one name out of a list of several, or the clause of a release that names no other."""
    if found.span is None:
        return
    text, (start, end) = document.text, (found.span.start, found.span.end)
    before, after = text[:start].rstrip(), text[end:].lstrip(" \t")
    if before.endswith(","):
        yield Cure("Remove it", (TextChange(len(before) - 1, end, ""),))
    elif after.startswith(","):
        yield Cure("Remove it", (TextChange(start, len(text) - len(after[1:].lstrip()), ""),))
    else:
        line = text.rfind("\n", 0, start) + 1
        yield Cure("Remove it", (TextChange(*_whole(text, line, end), ""),))


# --- columns and parties --------------------------------------------------------------------------


def _named(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """`as NAME` after the type of a column in quotes."""
    if found.span is None or (kind := _TYPE.match(document.text, found.span.end)) is None:
        return
    name = identifier(found.span.text[1:-1])
    yield Cure(f"Name it `{name}`", (TextChange(kind.end(), kind.end(), f" as {name}"),))


def _computed(document: Document, found: Diagnostic) -> Iterator[Cure]:
    if found.span is not None and found.span.text[:1] in "\"'":
        yield _write(found.span.start, found.span.end, identifier(found.span.text[1:-1]))


def _encoded_again(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """A column that is declared twice is computed from the first declaration."""
    told = re.search(r": (\w+ (\w+) = \w+)$", found.help or "")
    for party in names.parties(document.spec).values():
        for column in party.columns:
            if told is not None and column.name.span == found.span:
                yield _write(column.span.start, column.name.span.end, told[1])


def _embedded(document: Document, found: Diagnostic) -> Iterator[Cure]:
    if found.span is not None and (found.help or "").startswith("embed it first"):
        yield _write(found.span.start, found.span.end, f"embed({found.span.text}, dim = 8)")


def _masked_last(document: Document, found: Diagnostic) -> Iterator[Cure]:
    if found.span is None:
        return
    text, (start, end) = document.text, (found.span.start, found.span.end)
    following = re.compile(r"\s*->\s*([^\n#]*[^\s#])").match(text, end)
    if following is not None:
        yield Cure(
            "Move it to the end",
            (TextChange(start, following.end(), f"{following[1]} -> {found.span.text}"),),
        )


def _column(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """Declares a column in the party that the help is about."""
    told, owner = re.search(r": (column .+)$", found.help or ""), re.search(r"of (\w+)", found.message)
    party = names.parties(document.spec).get(owner[1]) if owner is not None else None
    if told is not None and party is not None and party.columns:
        end = party.columns[-1].span.end
        yield Cure(f"Declare `{told[1]}`", (TextChange(end, end, f"\n  {told[1]}"),))


def _party(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """Declares a party without data, before the first statement or after the last party."""
    told = re.search(r"party (\w+) \{\}", found.help or "")
    if told is not None:
        declared = names.parties(document.spec).values()
        end = max((party.span.end for party in declared), default=0)
        yield Cure(f"Declare `{told[0]}`", (TextChange(end, end, f"\n{told[0]}\n"),))


def _denied(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """`never to bob: City` in place of a grant of nothing."""
    told = re.match(r"`(never to [^`]+)`", found.help or "")
    if told is None or found.span is None:
        return
    start = len(document.text[: found.span.start].rstrip().removesuffix(","))
    yield Cure(f"Write `{told[1]}`", (TextChange(start, found.span.end, f"\n  {told[1]}"),))


def _unbounded(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """A grant without the bound that nothing proves."""
    bound = re.search(r"\s+at most epsilon [\d.]+", found.span.text) if found.span is not None else None
    if bound is not None and found.span is not None:
        start = found.span.start + bound.start()
        edit = TextChange(start, start + len(bound[0]), "")
        yield Cure("Grant it without a bound: its owner trusts the receiver", (edit,))


def _setting(name: str) -> CureMaker:
    """Takes a setting out of `train`."""

    def make(document: Document, found: Diagnostic) -> Iterator[Cure]:
        for item in document.spec.items:
            for setting in item.settings if isinstance(item, tree.Train) else ():
                if setting.name.text == name:
                    start, end = _whole(document.text, setting.span.start, setting.span.end)
                    yield Cure(f"Remove `{name}`", (TextChange(start, end, ""),))

    return make


def _lacking(document: Document, found: Diagnostic) -> Iterator[Cure]:
    """Takes `missing party allowed` out of the party that cannot lack rows."""
    owner = re.match(r"(\w+) ", found.message)
    party = names.parties(document.spec).get(owner[1]) if owner is not None else None
    if party is not None and party.missing is not None:
        start, end = _whole(document.text, party.missing.start, party.missing.end)
        yield Cure("Remove `missing party allowed`", (TextChange(start, end, ""),))


def _whole(text: str, start: int, end: int) -> tuple[int, int]:
    """A range, with its line where that has nothing else."""
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    last = len(text) if last < 0 else last + 1
    alone = not text[first:start].strip() and text[end:last].strip()[:1] in ("", "#")
    return (first, last) if alone else (start, end)


CureMaker = Callable[[Document, Diagnostic], Iterator[Cure]]
CURES: dict[str, tuple[CureMaker, ...]] = {
    "VFL0001": (_comma,),
    "VFL0002": (_bracket,),
    "VFL0003": (_quote,),
    "VFL0004": (_told(r"^write `(\w+)`"), _remove),
    "VFL0010": (_escaped,),
    "VFL0011": (_to_the_front,),
    "VFL0012": (_given_twice,),
    "VFL0013": (_told(r"^write `(\{[^`]+\})`"),),
    "VFL0018": (_named,),
    "VFL0019": (_computed,),
    "VFL0020": (_encoded_again,),
    "VFL0026": (_one_alphabet,),
    "VFL0112": (_listed_twice,),
    "VFL0115": (_remove,),
    "VFL0116": (_lacking,),
    "VFL0150": (_argument("rows"),),
    "VFL0160": (_told(r"predict (\w+) = "),),
    "VFL0202": (_instead,),
    "VFL0203": (_embedded,),
    "VFL0208": (_with_argument("lazy = true", "lazy = true"),),
    "VFL0221": (_column,),
    "VFL0222": (_masked_last,),
    "VFL0226": (_with_argument("^scale per batch", "per = batch"),),
    "VFL0307": (_remove,),
    "VFL0312": (_argument("noise"),),
    "VFL0331": (_instead,),
    "VFL0334": (_who_receives,),
    "VFL0338": (_setting("precision"),),
    "VFL0342": (_listed_twice,),
    "VFL0343": (_listed_twice,),
    "VFL0344": (_denied,),
    "VFL0347": (_told(r"`in (training)`"),),
    "VFL0348": (_argument("prior"),),
    "VFL0349": (_unbounded,),
    "VFL0403": (_party,),
    "VFL0405": (_party,),
    "VFL0407": (_told(r"^write `at (\w+)`"), _word),
    "VFL0502": (_remove,),
}
"""Cures besides the word that was meant; grants that are missing are `vflc.fixes`' matter."""
