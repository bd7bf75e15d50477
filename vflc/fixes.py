"""What `vflc check --fix` writes: the grants that a spec lacks, with what each means."""

from __future__ import annotations

from collections.abc import Mapping

from vflc.diagnostics import Source
from vflc.ir.learn import Bound
from vflc.passes.learn.granted import Missing
from vflc.syntax import tree

MEANINGS = {
    "code": "its code is learned: its bucket, hash or class",
    "all": "take it that the column itself is learned",
    "epsilon": "learned within the ε of its mechanism",
}


def with_grants(source: Source, spec: tree.Spec, missing: Mapping[str, Mapping[str, list[Missing]]]) -> str:
    """The text with the grants that are missing, by party and receiver.

    They go to the end of a party's last `release`, or into one of their own at the end of the text.
    """
    text, edits = source.text, []
    releases = {i.party.text: i for i in spec.items if isinstance(i, tree.Release)}
    for party, receivers in missing.items():
        lines = [line for receiver, columns in receivers.items() for line in _lines(receiver, columns)]
        if (release := releases.get(party)) is not None:
            at = release.span.end - 1
            edits.append((at, "\n" + "\n".join(lines) + "\n"))
        else:
            block = "\n".join([f"release {party} {{", *lines, "}"])
            edits.append((len(text), f"\n{block}\n"))
    for at, added in sorted(edits, key=lambda edit: edit[0], reverse=True):
        text = text[:at] + added + text[at:]
    return text


def _lines(receiver: str, columns: list[Missing]) -> list[str]:
    """A grant for each kind of bound, with a comment that says what it gives."""
    kinds: dict[str, list[Missing]] = {}
    for column in columns:
        kinds.setdefault(column.bound.kind, []).append(column)
    return [
        f"  to {receiver}: {', '.join(map(_item, members))}  # {MEANINGS[kind]}"
        for kind, members in kinds.items()
    ]


def _item(missing: Missing) -> str:
    return missing.name + _limit(missing.bound)


def _limit(bound: Bound) -> str:
    """A grant of noise is limited to it; without that word it would be one of the column itself."""
    if bound.kind != "epsilon" or bound.epsilon is None:
        return ""
    return f" at most epsilon {bound.epsilon:g}"
