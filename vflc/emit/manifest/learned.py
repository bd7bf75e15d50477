"""Who may learn what, and what is granted, as the manifest has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vflc_common.bound import LEAST_FIRST, Bound

from vflc.emit.manifest.text import plain
from vflc.ir.learn import Evidence, Learned
from vflc.ir.release import Grant
from vflc.ir.stages import Partitioned, Vectorised

SHOWN = 3
"""Edges that a row names; the rest are counted."""


def learned(model: Partitioned | Vectorised) -> dict[str, Any]:
    """`learned`, a row for each receiver and column of others, `evidence` and `grants`.

    `spends` too, where there is something that parties must add up over runs.
    """
    spends = [
        {"to": each.receiver, "party": each.party, "name": each.name, "protections": list(each.guards)}
        for each in model.disclosed.spends
    ]
    return {
        **({"spends": spends} if spends else {}),
        "learned": [_row(row) for row in model.disclosed.learned],
        "evidence": [_evidence(known) for known in model.disclosed.evidence],
        "grants": [_grant(grant) for release in model.releases for grant in release.grants],
    }


def _row(row: Learned) -> dict[str, Any]:
    bound: dict[str, Any] = {"kind": row.bound.kind}
    if row.bound.kind == "code":
        bound |= {"bits": row.bound.bits}
    elif row.bound.kind == "epsilon":
        bound |= {"epsilon": row.bound.epsilon, "delta": row.bound.delta}
    return {
        "receiver": row.receiver,
        "party": row.party,
        "column": row.column,
        "features": list(row.features),
        "bound": bound,
        "edges": list(row.edges),
        "programs": list(row.programs),
        "held": list(row.held),
    }


def _evidence(known: Evidence) -> dict[str, Any]:
    return {
        "kind": known.kind,
        "to": known.receiver,
        "of": list(known.columns),
        "edges": list(known.edges),
        "says": known.says,
    }


def _grant(grant: Grant) -> dict[str, Any]:
    return {
        "party": grant.party,
        "to": grant.receiver,
        "column": grant.column,
        "epsilon": grant.epsilon,
        "bits": grant.bits,
        "programs": list(grant.programs),
        "held": grant.held,
    }


def by_receiver(rows: Iterable[Learned]) -> dict[tuple[str, str], list[Learned]]:
    """By receiver and party what may be learned of its columns, the most first."""
    found: dict[tuple[str, str], list[Learned]] = {}
    for row in rows:
        found.setdefault((row.receiver, row.party), []).append(row)
    for members in found.values():
        members.sort(key=lambda row: -LEAST_FIRST.index(row.bound.kind))
    return found


def at_most(bound: Mapping[str, Any]) -> str:
    """A bound of the manifest in words."""
    return str(Bound(**bound))


def who_may_learn(data: Mapping[str, Any]) -> list[str]:
    """The section of manifest.md."""
    rows = data.get("learned")
    if not rows:
        return []
    known: dict[tuple[str, str], list[str]] = {}
    for each in data["evidence"]:
        for column in each["of"]:
            known.setdefault((each["to"], column), []).append(each["kind"])
    lines = [
        "## Who may learn what",
        "",
        "For each column of others: the most that a receiver can learn from all that it receives, stored and",
        "combined with anything else that it knows. **all**: assume that it learns the column. its",
        "code: the encoders' output, and no more. nothing: no message depends on it. For a key:",
        "which rows are common, in which order, and what else the method of alignment reveals.",
        *_of_lacking(data),
        *_of_parts(data),
        "",
        "| receiver | column | at most | in | through | known to reveal |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        column = f"{row['party']}.{row['column']}"
        words = at_most(row["bound"])
        bold = f"**{words}**" if row["bound"]["kind"] == "all" else words
        cells = [receiver(row), plain(column), bold + held_anyway(row["held"])]
        cells += [", ".join(row["programs"]) or "–", _edges(row["edges"])]
        cells.append(", ".join(dict.fromkeys(known.get((row["receiver"], column), ()))) or "–")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, *_told(data["evidence"]), *_granted(data["grants"]), ""]


def _of_lacking(data: Mapping[str, Any]) -> list[str]:
    """What the order of rows tells where parties may lack some."""
    names = [party["name"] for party in data["parties"] if "missing" in party]
    if not names:
        return []
    if not names[1:]:
        text = f"{names[0]} may lack rows: each other party learns which of its own rows {names[0]} has, and"
        return ["", text, "every place how many it lacks."]
    text = (
        f"{' and '.join(names)} may lack rows: each party learns which of its own rows each of them has, and"
    )
    return ["", text, "every place how many rows there are for each set of them."]


def _of_parts(data: Mapping[str, Any]) -> list[str]:
    """What is told of keys that are a part of the others'."""
    names = [party["name"] for party in data["parties"] if "part_of_key" in party]
    if not names:
        return []
    text = f"Keys of {' and of '.join(names)} are a part of the others': such a party, and whoever reads what"
    return [
        "",
        text,
        "it computes, is told which rows, in the order of the whole key, are one of its keys', by numbers in",
        "the order of these. The party also learns which of its keys others have, joined or not.",
    ]


def held_anyway(names: Sequence[str]) -> str:
    """What a receiver has of a column in any case, behind its bound."""
    return f"; has {', '.join(names)} anyway" if names else ""


def receiver(row: Mapping[str, Any]) -> str:
    """Users of a population are receivers of what other users have."""
    return "other users" if row["receiver"] == row["party"] else row["receiver"]


def _told(evidence: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is known to reveal it; that nothing is known is no bound."""
    lines = [f"- {each['kind']}, to {each['to']}: {each['says']}" for each in evidence]
    head = "Known to reveal (`hints`: as measured in the literature; all else: whatever the weights are):"
    return ["", head, "", *lines] if lines else []


def _granted(grants: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"- {grant['party']}.{grant['column']} to {grant['to']}{_limits(grant)}" for grant in grants]
    return ["", "Granted:", "", *lines] if lines else []


def _limits(grant: Mapping[str, Any]) -> str:
    if grant["held"]:
        return ", who has it anyway"
    text = f" at most ε = {grant['epsilon']:g}" if grant["epsilon"] is not None else ""
    text += f" at most {grant['bits']:g} bits a row" if grant["bits"] is not None else ""
    return text + (f" in {', '.join(grant['programs'])}" if len(grant["programs"]) < 3 else "")


def _edges(edges: Sequence[str]) -> str:
    shown = ", ".join(f"`{edge}`" for edge in edges[:SHOWN])
    return f"{shown} and {len(edges) - SHOWN} more" if len(edges) > SHOWN else shown or "–"
