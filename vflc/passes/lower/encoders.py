"""Encoder chains: what each encoder reads and gives, and its arguments, as plain data."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vflc_common.encoder import DEFAULT, FILE, IDS, MANY, OTHER, SHA256, SIZE, Encoder, examined, of_file
from vflc_common.encoders import ENCODERS
from vflc_common.plugins import MEND, BrokenPlugin
from vflc_common.words import vector_width

from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.listed import ListedFile
from vflc.passes.lower import foreign
from vflc.passes.lower.evaluate import MOST_STEPS, Evaluator
from vflc.passes.lower.listed import BESIDE, names_a_file, read_listed
from vflc.passes.lower.values import Poison, Scope, describe
from vflc.syntax import tree

Chain = tuple[Sequence[Mapping[str, Any]] | None, str, int | None]
"""Encoders, what they give, and how many ids that are; no encoders after a report."""

_MOST_KNOWN = 1 << 12
_known: dict[tuple[str, str], tuple[Chain, int]] = {}
"""Chains of our encoders and constants, by what they read and their text, and in how many steps each was
found: many columns have one, and a spec that is written is checked again and again."""


def lower_chain(ev: Evaluator, column: tree.Column, kind: str, scope: Scope, files: FilesOfColumn) -> Chain:
    """The chain of a column, which reads a `kind`."""
    if not all(_is_constant(each.value) for link in column.encoders for each in link.arguments):
        return _lowered(ev, column, kind, scope, files)
    links, steps = column.encoders, ev.steps
    key = (kind, links[0].span.to(links[-1].span).text if links else "")
    found, taken = _known.get(key, (None, 0))
    if found is not None and steps + taken <= MOST_STEPS:
        ev.steps += taken
        return found
    chain = _lowered(ev, column, kind, scope, files)
    ours = all(link.name.text in ENCODERS.ours for link in links)
    if ours and chain[0] is not None and files.listed is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[key] = chain, ev.steps - steps
    return chain


def _is_constant(expr: tree.Expr) -> bool:
    """Whether it is what it is wherever it stands."""
    if isinstance(expr, tree.Range):
        return isinstance(expr.low, tree.Number) and isinstance(expr.high, tree.Number)
    return isinstance(expr, (tree.Number, tree.String))


def _lowered(ev: Evaluator, column: tree.Column, kind: str, scope: Scope, files: FilesOfColumn) -> Chain:
    encoders: list[dict[str, Any]] = []
    rows: int | None = None
    for link in column.encoders:
        encoder = _encoder(ev, link)
        if encoder is None:
            return None, kind, None
        if not encoder.takes(kind):
            text = f"`{encoder.name}` reads {' or '.join(encoder.reads)}, but this is {kind}"
            ev.error("VFL0204", text, link.span, _help(kind, encoder))
            return None, kind, None
        settings = _settings(ev, link, encoder, scope)
        if settings is None or (FILE in settings and not _listed(ev, link, encoder, settings, files)):
            return None, kind, None
        try:
            with ENCODERS.using(encoder.name):
                wrong, count = examined(encoder, settings, kind)
        except BrokenPlugin as broken:
            ev.error("VFL0695", broken.message, link.span, MEND)
            return None, kind, None
        if wrong is not None:
            ev.error("VFL0205", wrong, link.span)
            return None, kind, None
        encoders.append(settings)
        kind = encoder.after(kind)
        rows = count if count is not None or kind not in IDS else rows
    return encoders, kind, rows


def _encoder(ev: Evaluator, link: tree.EncoderCall) -> Encoder | None:
    name = link.name.text
    if name in ENCODERS:
        return ev.record(ENCODERS, name, link.name.span)
    known = ENCODERS.names()
    near = did_you_mean(name, known)
    ev.error(
        "VFL0106",
        f"unknown encoder `{name}`",
        link.name.span,
        _known_as(name) or (f"did you mean `{near}`?" if near else f"use one of: {', '.join(known)}"),
    )
    return None


def _known_as(name: str) -> str | None:
    """What to write for an encoder that other libraries call by this name."""
    answers = (pair for encoder in ENCODERS for pair in encoder.known_as.items())
    ours = (answer for words, answer in answers if name.lower() in words.split())
    return next(ours, None) or foreign.instead(foreign.ENCODERS, name)


def _help(kind: str, encoder: Encoder) -> str:
    """What to do where an encoder does not fit what comes before it."""
    if vector_width(kind) is not None:
        return "only encoders from numbers to numbers, such as standardize, can follow a vector"
    if kind in IDS:
        return "end the chain here: no encoder can follow ids"
    if kind in MANY:
        return "use hash or vocab to turn several values per row into ids"
    return encoder.misfit or "change the column's declared type, or the encoder"


def _settings(ev: Evaluator, link: tree.EncoderCall, encoder: Encoder, scope: Scope) -> dict[str, Any] | None:
    """The arguments of a link, each under its name; None after a report."""
    names = [parameter.name for parameter in encoder.parameters]
    many = next((parameter.name for parameter in encoder.parameters if parameter.many), None)
    found: dict[str, Any] = {}
    for position, argument in enumerate(link.arguments):
        if argument.name is not None:
            name = argument.name.text
            if name not in names:
                near = did_you_mean(name, names)
                ev.error(
                    "VFL0107",
                    f"`{encoder.name}` has no argument `{name}`",
                    argument.name.span,
                    f"did you mean `{near}`?" if near else None,
                )
                return None
        elif (word := _word(argument.value, encoder, scope)) is not None:
            found[word[0]] = _OTHER if word[0] == DEFAULT else word[1]
            continue
        elif many is not None:
            name = many
        elif position < len(names):
            name = names[position]
        else:
            ev.error("VFL0107", f"`{encoder.name}` takes {len(names)} arguments", argument.span)
            return None
        value = _constant(ev, argument.value, scope)
        if isinstance(value, Poison):
            return None
        if name == many:
            value = [*found.get(name, []), *(value if isinstance(value, list) else [value])]
        found[name] = value
    lacking = next((p.name for p in encoder.parameters if p.needed and found.get(p.name) in (None, [])), None)
    if lacking is not None:
        ev.error("VFL0107", f"`{encoder.name}` needs `{lacking}`", link.span)
        return None
    if encoder.lookup is not None and DEFAULT in found:
        found[DEFAULT] = OTHER if found[DEFAULT] is _OTHER else {"value": found[DEFAULT]}
    return {"name": encoder.name, **{name: found.get(name) for name in names}}


class FilesOfColumn:
    """Files that encoders of one column name, below the `folder` of the spec; None where it has none."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.listed: ListedFile | None = None


def _listed(
    ev: Evaluator, link: tree.EncoderCall, encoder: Encoder, settings: dict[str, Any], files: FilesOfColumn
) -> bool:
    """Whether an encoder can be used, whose values may be in a file: the file takes their place."""
    if settings[FILE] is not None:
        ev.error("VFL0107", f"`{link.name.text}` takes the name of a file first", link.span, BESIDE)
        return False
    values = next(name for name in settings if name not in ("name", FILE))
    if not names_a_file(settings[values]):
        return True
    for wrong in (p.wrong(encoder.name, settings[p.name]) for p in of_file):
        if wrong is not None:
            ev.error("VFL0205", wrong, link.span)
            return False
    found = read_listed(settings[values][0], settings, link.span, files.folder, ev.collector)
    if found is not None:
        files.listed = found
        settings |= {values: None, FILE: found.file, SHA256: found.sha256, SIZE: found.size}
    return found is not None


def _word(expr: tree.Expr, encoder: Encoder, scope: Scope) -> tuple[str, Any] | None:
    """The parameter and the value that a name gives which is bound to nothing: `missing(median)`."""
    if not isinstance(expr, tree.Ref) or scope.find(expr.name) is not None:
        return None
    return encoder.words.get(expr.name)


_OTHER: dict[str, Any] = {}
"""The word `other`, where it is bound to nothing."""


def _constant(ev: Evaluator, expr: tree.Expr, scope: Scope) -> Any:
    if isinstance(expr, tree.Ref) and expr.name == OTHER and scope.find(OTHER) is None:
        return _OTHER
    value = _composed(ev.evaluate(expr, scope))
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, (int, float, str, Poison)):
            return ev.error(
                "VFL0203",
                f"an encoder's argument must be a number or text; this is {describe(item)}",
                expr.span,
            )
    return value


def _composed(value: Any) -> Any:
    """Texts in the form that those of tables are brought into: see `vflc_runtime.data.values`."""
    if isinstance(value, list):
        return [_composed(item) for item in value]
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value
