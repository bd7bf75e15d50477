"""What the manifest says of protections: which run, where, and what they promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vflc.ir.release import Guard
from vflc.ir.stages import Scheduled
from vflc.ops.mechanisms import MECHANISMS


def protection(guard: Guard) -> dict[str, Any]:
    """A guard as an edge has it."""
    return {
        "id": guard.id,
        "mechanism": guard.mechanism,
        "options": dict(guard.options),
        "privacy": guard.privacy,
        "accounting": MECHANISMS[guard.mechanism].accounting,
        "promise": guard.promise,
    }


def protections(model: Scheduled) -> dict[str, Any]:
    """`protections`, those of labels included, and `offers`; without keys for what there is none of."""
    guards = [
        {
            **protection(guard),
            "place": guard.place,
            "edges": [edge.id for edge in model.edges if guard in model.guards_of(edge.node)],
            "label": guard.reads if guard.reads in guard.before else None,
            "programs": list(guard.programs),
            "guards": sum(other.protection == guard.protection for other in model.guards),
            **({"weights": list(guard.weights)} if guard.weights else {}),
        }
        for guard in model.guards
    ]
    found: dict[str, Any] = {"protections": guards} if guards else {}
    return found | ({"offers": [offer.text for offer in model.offers]} if model.offers else {})


def protected(data: Mapping[str, Any]) -> list[str]:
    """The sections of manifest.md."""
    lines: list[str] = []
    if data.get("protections"):
        lines += ["", "## Protections", "", "| what | mechanism | at | bounds what is learned | promise |"]
        lines.append("| --- | --- | --- | --- | --- |")
    for guard in data.get("protections", ()):
        what = guard.get("weights") or guard["edges"] or [guard["label"]]
        options = ", ".join(f"{name} = {_shown(value)}" for name, value in _told(guard["options"]))
        names, proven = (
            ", ".join(f"`{name}`" for name in what),
            "yes" if guard["privacy"] == "proven" else "no",
        )
        asked = f"{guard['mechanism']}({options})" if options else guard["mechanism"]
        lines.append(f"| {names} | {asked} | {guard['place']} | {proven} | {guard['promise']} |")
    if data.get("offers"):
        lines += ["", "## Could be hidden", "", *(f"- {offer}" for offer in data["offers"])]
    return lines


def _told(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Options that were asked for, without names of values that the compiler keeps among them."""
    return [(n, v) for n, v in options.items() if v is not None and not _names(v)]


def _names(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
