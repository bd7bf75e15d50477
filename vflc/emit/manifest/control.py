"""The control messages of a bundle: all that places tell each other besides the values of the graph.

The kinds are fixed; which places tell which follows from who has tables, losses and metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vflc.ir.model import Model, Program


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of control message holds, when it is told, and how long it is at most."""

    name: str
    bytes: int
    holds: str
    when: str


ALIGN = "alignment"
EVERYONE = (
    Kind(
        "hello",
        4096,
        "digest of this manifest and of the Keras files, engine, version, settings of the run",
        "at the start, after a restart",
    ),
    Kind(
        "ready", 1024, "number of aligned rows, names of the checkpoints at hand", "when the data is loaded"
    ),
    Kind("saved", 8, "the number of steps done", "when a checkpoint is written"),
    Kind("stop", 8, "the number of steps done", "when somebody stops the run, at its end"),
    Kind("done", 1, "that all is saved, that the place leaves", "at the end"),
)
TABLES = (
    Kind("align.hello", 76, "method, hub, number of rows, a random number, the last alignment's name", ALIGN),
    Kind("align.check", 32, "digest of the common keys, or of the shared key, salted", ALIGN),
    Kind("align.turn", 8, "how many points the hub will send", ALIGN),
    Kind("align.hashes", 262144, "keys, hashed with the shared key", "alignment by hash"),
    Kind("align.setup", 270336, "keys, as points under the sender's secret", "alignment by psi"),
    Kind("align.request", 270336, "the hub's keys, as points under its secret", "alignment by psi"),
    Kind("align.response", 270336, "the same points, under the sender's secret as well", "alignment by psi"),
    Kind("align.count", 8, "the number of common keys", ALIGN),
    Kind("align.common", 262144, "the common keys, salted and hashed", ALIGN),
)
LOSS = Kind("loss", 16, "the sender's terms of the loss, summed over the rows", "after each epoch")
MASK = Kind("mask.key", 32, "an X25519 public key for the masks of sums", "at the start, after a restart")
BEST = Kind("best", 1, "whether the epoch was the best so far", "after each epoch")


def control(model: Model) -> list[dict[str, Any]]:
    """The kinds that this bundle has: each of `from` may tell each other one of `to`."""
    places = model.places
    if len(places) < 2:
        return []
    entries = [_entry(kind, places, places) for kind in EVERYONE]
    readers = [party.name for party in model.parties if party.columns and party.name in places]
    if len(readers) > 1:
        entries += [_entry(kind, readers, readers) for kind in TABLES]
    masking = [place for place in places if any(g.masks and g.place == place for g in model.guards)]
    if masking:
        entries.append(_entry(MASK, masking, masking))
    deciding = decides(model)
    if deciding:
        judge = _judge_of_loss(model)
        summing = {str(model.graph[loss.node].place) for loss in model.losses} - {judge}
        if summing and not all(_measuring(model, program) for program in deciding):
            entries.append(_entry(LOSS, sorted(summing, key=places.index), [judge]))
        entries.append(_entry(BEST, sorted(set(deciding.values()), key=places.index), places))
    return entries


def decides(model: Model) -> dict[Program, str]:
    """The place that says which epoch is the best, where training rows are watched and where others are.

    Empty where nothing depends on it.
    """
    if model.train.patience is None and not model.train.best:
        return {}
    return {program: _watched_at(model, program) for program in ("train", "evaluate")}


def _watched_at(model: Model, program: Program) -> str:
    """The first place that measures what is watched; the loss stands in for a metric that none does."""
    return min(_measuring(model, program) or [_judge_of_loss(model)], key=model.places.index)


def _measuring(model: Model, program: Program) -> list[str]:
    """The places that measure the metric that is watched; none where that is the loss."""
    if model.train.monitor in (None, "loss") or model.train.monitor not in model.train.metrics:
        return []
    return [
        str(model.inference[p.label].place)
        for p in model.predictions
        if p.label and (program == "evaluate" or p.node in model.roots("train"))
    ]


def _judge_of_loss(model: Model) -> str:
    """The first place with a term that has a label, or with any."""
    found = [loss for loss in model.losses if loss.label] or list(model.losses)
    return min((str(model.graph[loss.node].place) for loss in found), key=model.places.index)


def _entry(kind: Kind, senders: Sequence[str], receivers: Sequence[str]) -> dict[str, Any]:
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
        "What a run between machines tells besides. The loss and the metrics stay where the labels are,",
        "but for what is listed here.",
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
