"""What `vflc check --fix` writes: the grants that a spec lacks, with what each means."""

from __future__ import annotations

from collections.abc import Mapping

from vflc.diagnostics import Source
from vflc.ir.learn import Bound
from vflc.passes.learn.granted import Missing
from vflc.syntax import tree

MEANINGS = {
    "code": "learned of these at most: the code, as bucket, hash or class",
    "all": "learned of these: take it that the columns themselves are",
    "epsilon": "learned of these at most: what the ε of a mechanism allows",
}


def with_grants(source: Source, spec: tree.Spec, missing: Mapping[str, Mapping[str, list[Missing]]]) -> str:
    """The text with the grants that are missing, by party and receiver.

    They go to the end of a party's last `release`, or into one of their own at the end of the text.
    """
    text, edits = source.text, []
    releases = {i.party.text: i for i in spec.items if isinstance(i, tree.Release)}
    for party, receivers in missing.items():
        lines = _lines(receivers)
        if (release := releases.get(party)) is not None:
            at = release.span.end - 1
            edits.append((at, "\n" + "\n".join(lines) + "\n"))
        else:
            block = "\n".join([f"release {party} {{", *lines, "}"])
            edits.append((len(text), f"\n{block}\n"))
    for at, added in sorted(edits, key=lambda edit: edit[0], reverse=True):
        text = text[:at] + added + text[at:]
    return text


def _lines(receivers: Mapping[str, list[Missing]]) -> list[str]:
    """A grant for each kind of bound, below a comment on what it gives; receivers of the same in one."""
    alike: dict[tuple[str, str], list[str]] = {}
    for receiver, columns in receivers.items():
        kinds: dict[str, list[Missing]] = {}
        for column in columns:
            kinds.setdefault(column.bound.kind, []).append(column)
        for kind, members in kinds.items():
            alike.setdefault((kind, ", ".join(map(_item, members))), []).append(receiver)
    return [
        line
        for (kind, items), to in alike.items()
        for line in (f"  # {MEANINGS[kind]}", f"  to {', '.join(to)}: {items}")
    ]


def _item(missing: Missing) -> str:
    return missing.name + _limit(missing.bound)


def _limit(bound: Bound) -> str:
    """A grant of noise is limited to it; without that word it would be one of the column itself."""
    if bound.kind != "epsilon" or bound.epsilon is None:
        return ""
    return f" at most epsilon {bound.epsilon:g}"
