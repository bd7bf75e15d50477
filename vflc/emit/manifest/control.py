"""The control messages of a bundle: all that places tell each other besides the values of the graph.

The kinds are fixed; which places tell which follows from who has tables, losses and metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vflc_common.control import (
    ALIGN_AT,
    ALIGN_PRESENT,
    ALIGN_ROWS,
    ALIGN_WHICH,
    ALIGNING,
    ALWAYS,
    BEST,
    HELD_OUT,
    LOSS,
    MASK_KEY,
    Control,
)
from vflc_common.words import Program

from vflc.ir.stages import Scheduled


def control(model: Scheduled) -> list[dict[str, Any]]:
    """The kinds that this bundle has: each of `from` may tell each other one of `to`."""
    places = model.places
    if len(places) < 2:
        return []
    entries = [_entry(kind, places, places) for kind in ALWAYS]
    readers = [party.name for party in model.parties if party.key and party.name in places]
    if len(readers) > 1:
        entries += [_entry(kind, readers, readers) for kind in ALIGNING]
    if (kept := model.train.held_out) is not None:
        entries.append(_entry(HELD_OUT, [kept.party], places))
    keyed = [party for party in model.parties if party.key and party.name in places]
    lacking = [party.name for party in keyed if party.missing]
    parts = [party.name for party in keyed if party.part is not None]
    if lacking or parts:
        required = [party.name for party in keyed if not party.missing and party.name not in parts]
        first = next((party.name for party in keyed if party.many), required[0])
        lacking_whole = [name for name in lacking if name not in parts]
        if lacking:
            entries.append(_entry(ALIGN_PRESENT, [first], places))
        told = required if len(required) > 1 else []
        if told := [*told, *(lacking_whole if len(lacking) > 1 or parts else ())]:
            entries.append(_entry(ALIGN_WHICH, [first], told))
        reached = [place for place in places if any(_reads(model, place, part) for part in parts)]
        if reached:
            entries.append(_entry(ALIGN_AT, [first], reached))
    many = [party.name for party in model.parties if party.many and party.name in places]
    if many:
        entries.append(_entry(ALIGN_ROWS, many, places))
    masking = [place for place in places if any(g.masks and g.place == place for g in model.guards)]
    if masking:
        entries.append(_entry(MASK_KEY, masking, masking))
    deciding = decides(model)
    if deciding:
        judge = _judge_of_loss(model)
        summing = {str(model.graph[loss.node].place) for loss in model.losses} - {judge}
        if summing and not all(_measuring(model, program) for program in deciding):
            entries.append(_entry(LOSS, sorted(summing, key=places.index), [judge]))
        entries.append(_entry(BEST, sorted(set(deciding.values()), key=places.index), places))
    return entries


def _reads(model: Scheduled, place: str, party: str) -> bool:
    """Whether a place has to know which rows are of which key of a party: it is that party, or reads it."""
    return place == party or any({edge.source, edge.target} == {place, party} for edge in model.edges)


def decides(model: Scheduled) -> dict[Program, str]:
    """The place that says which epoch is the best, where training rows are watched and where others are.

    Empty where nothing depends on it.
    """
    if model.train.patience is None and not model.train.best:
        return {}
    return {program: _watched_at(model, program) for program in ("train", "evaluate")}


def _watched_at(model: Scheduled, program: Program) -> str:
    """The first place that measures what is watched; the loss stands in for a metric that none does."""
    return min(_measuring(model, program) or [_judge_of_loss(model)], key=model.places.index)


def _measuring(model: Scheduled, program: Program) -> list[str]:
    """The places that measure the metric that is watched; none where that is the loss."""
    if model.train.monitor in (None, "loss") or model.train.monitor not in model.train.metrics:
        return []
    return [
        str(model.inference[p.label].place)
        for p in model.predictions
        if p.label and (program == "evaluate" or p.node in model.roots("train"))
    ]


def _judge_of_loss(model: Scheduled) -> str:
    """The first place with a term that has a label, or with any."""
    found = [loss for loss in model.losses if loss.label] or list(model.losses)
    return min((str(model.graph[loss.node].place) for loss in found), key=model.places.index)


def _entry(kind: Control, senders: Sequence[str], receivers: Sequence[str]) -> dict[str, Any]:
    return {
        "id": kind.name,
        "from": list(senders),
        "to": list(receivers),
        "holds": kind.holds,
        "when": kind.when,
        "bytes": kind.bytes,
    }


def described(entries: Sequence[dict[str, Any]]) -> list[str]:
    """The control messages as a section of manifest.md."""
    if not entries:
        return []
    lines = [
        "",
        "## Control messages",
        "",
        "What else a run between machines sends. The loss and the metrics stay with the labels,",
        "except for what is listed here.",
        "",
        "| kind | from → to | holds | when | at most |",
        "| --- | --- | --- | --- | --- |",
    ]
    for entry in entries:
        size = f"{entry['bytes']:,} byte{'s' if entry['bytes'] > 1 else ''}"
        lines.append(f"| `{entry['id']}` | {_ends(entry)} | {entry['holds']} | {entry['when']} | {size} |")
    return lines


def _ends(entry: dict[str, Any]) -> str:
    if entry["from"] == entry["to"]:
        return " ↔ ".join(entry["from"])
    receivers = [place for place in entry["to"] if entry["from"] != [place]]
    return f"{', '.join(entry['from'])} → {', '.join(receivers)}"
