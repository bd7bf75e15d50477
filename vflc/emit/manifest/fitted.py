"""Tables that a run fits to the training rows, before its first step."""

from __future__ import annotations

from typing import Any

from vflc.ir.stages import Scheduled

HEAD = (
    "Before the first step, `fit` runs once over the training rows. Each table holds the weight of evidence "
    "of a feature's bins for a label, by how many of the rows of a bin have it. It stays at its place, and "
    "what is computed with it depends on the feature and the label of every training row."
)


def fitted(model: Scheduled) -> dict[str, Any]:
    """Where each is, and what it is fitted to; nothing of a model that has none."""
    tables = [
        {
            "table": fit.weight,
            "at": model.inference[fit.weight].place,
            "feature": fit.feature,
            "label": fit.label,
        }
        for fit in model.fits
    ]
    return {"fitted": tables} if tables else {}


def described_tables(tables: list[dict[str, Any]]) -> list[str]:
    """The same for a person."""
    if not tables:
        return []
    rows = [f"| `{t['table']}` | {t['at']} | {t['feature']} | {t['label']} |" for t in tables]
    head = ["| table | at | bins of | evidence of |", "| --- | --- | --- | --- |"]
    return ["", "## Fitted before training", "", HEAD, "", *head, *rows]
