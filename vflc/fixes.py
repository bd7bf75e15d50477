"""What `vflc check --fix` mends: grants that a spec lacks, each with what it means; waivers that are none."""

from __future__ import annotations

from collections.abc import Mapping

from vflc_common.bound import Bound
from vflc_common.words import PROGRAM_WORDS

from vflc.diagnostics import SourceText
from vflc.passes.learn.granted import Missing
from vflc.passes.lower.release import EVIDENCE
from vflc.syntax import tree

MEANINGS = {
    "code": "at most the code of these is learned: a bucket, hash or class",
    "all": "assume that these columns are learned in full",
    "epsilon": "at most what a mechanism's ε allows is learned of these",
}


def with_grants(
    source: SourceText, spec: tree.Spec, missing: Mapping[str, Mapping[str, list[Missing]]]
) -> str:
    """The text with the grants that are missing, by party and receiver.

    They go to the end of a party's last `release`, or into one of their own at the end of the text.
    """
    text = source.text
    edits: list[tuple[int, int, str]] = []
    releases = {i.party.text: i for i in spec.items if isinstance(i, tree.ReleaseStatement)}
    for party, receivers in missing.items():
        lines = _lines(receivers)
        if (release := releases.get(party)) is not None:
            end = release.span.end - 1
            edits.append((len(text[:end].rstrip()), end, "\n" + "\n".join(lines) + "\n"))
        else:
            block = "\n".join([f"release {party} {{", *lines, "}"])
            edits.append((len(text), len(text), f"\n{block}\n"))
    ends = "\r\n" if "\r\n" in text else "\n"
    for start, end, added in sorted(edits, key=lambda edit: edit[0], reverse=True):
        text = text[:start] + added.replace("\n", ends) + text[end:]
    return text


def without_waivers(source: SourceText, spec: tree.Spec) -> str:
    """The text without those `accept` whose code is evidence now, which grants have taken the place of."""
    text = source.text
    old = [i.span for i in spec.items if isinstance(i, tree.Accept) and i.code.text in EVIDENCE]
    for span in reversed(old):
        start, end = text.rfind("\n", 0, span.start) + 1, text.find("\n", span.end) + 1 or len(text)
        alone = not text[start : span.start].strip() and text[span.end : end].strip()[:1] in ("", "#")
        text = text[:start] + text[end:] if alone else text[: span.start] + text[span.end :]
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
    granted = missing.name + _limit(missing.bound)
    return ", ".join(f"{granted} in {PROGRAM_WORDS[program]}" for program in missing.programs) or granted


def _limit(bound: Bound) -> str:
    """A grant of noise is limited to it; without that word it would be one of the column itself."""
    if bound.kind != "epsilon" or bound.epsilon is None:
        return ""
    return f" at most epsilon {bound.epsilon:g}"
