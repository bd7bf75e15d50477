"""A short run on columns that tell nothing of each other, and what one attack makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from granting import granted
from vflc_common.words import DEFAULT_ENGINE
from vflc_runtime.audit.adversary_view import AdversaryView
from vflc_runtime.audit.attacks.start import Start
from vflc_runtime.audit.draws import drawn, units
from vflc_runtime.audit.judge import Judge
from vflc_runtime.audit.knowledge import AttackedLabel, Knowledge
from vflc_runtime.audit.labels import LABEL_ATTACKS
from vflc_runtime.audit.simulation import first_steps, simulate
from vflc_runtime.audit.targets import target
from vflc_runtime.bundle.folder import Bundle, open_bundle
from vflc_runtime.data.dataset import Dataset

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

ROWS = 512


def columns(bundle: Bundle) -> Dataset:
    """Rows for the parties of `learn.test_constructions`, every column drawn by itself."""
    rng = np.random.default_rng(0)
    rating, price = rng.integers(1, 6, ROWS), rng.normal(size=ROWS)
    made: dict[str, Any] = {
        "liked": rating > 3, "W": 1 + 9 * (rating > 3), "cost": price, "Price": price,
        "star": rng.integers(0, 4, ROWS), "City": rng.integers(0, 64, ROWS),
        "Item": rng.integers(0, 16, ROWS),
    }  # fmt: skip
    inputs = {}
    for plan in bundle.plans.values():
        for each in plan.inputs.values():
            values = made.get(each.id.partition(".")[2])
            column = rng.normal(size=ROWS) if values is None else values
            ids = column.dtype == np.int64 and len(each.shape) == 1
            inputs[each.id] = column.astype(np.int32) if ids else column.astype(np.float32)[:, None]
    return Dataset(ROWS, inputs, None, {}, {})


def reached(
    text: str, folder: Path, receiver: str, secret: str, attack: str, batch: int = 128, steps: int = 8
) -> float:
    """The best score of one attack over all that crosses to the receiver.

    Of two classes the AUC, of several the share of rows that are named rightly, of a number the correlation,
    where rows are linked the AUC of pairs.
    """
    compile_source(SourceText("attacked.vfl", granted(text))).write(folder)
    bundle = open_bundle(folder)
    data = columns(bundle)
    settings = {"seed": 1, "validation": 0.0, "fold": 0, "batch": batch, "shuffle": True, "epochs": 99}
    heard = simulate(bundle, data, settings, steps, DEFAULT_ENGINE, threads=1)
    view = AdversaryView(receiver, bundle.manifest, heard.train[receiver], heard.whole[receiver], {}, ROWS)
    made = drawn(data, units(bundle.manifest.document["learned"], data.inputs), np.random.default_rng(3))
    view.start = Start(made.inputs, first_steps(bundle, made, settings, DEFAULT_ENGINE, threads=1)[receiver])
    column = data.inputs[secret]
    aimed = target(secret, column, column)
    assert aimed is not None
    if column.dtype == np.float32 and len(np.unique(column)) > 2:
        label, knowledge = (
            AttackedLabel(secret, "number", 2),
            Knowledge(AttackedLabel(secret, "number", 2), column[:, 0].astype(float)),
        )
    else:
        label = AttackedLabel(secret, "binary" if len(aimed.shares) == 2 else "classes", len(aimed.shares))
        knowledge = Knowledge(label, aimed.classes, None, aimed.spelled)
    judge = Judge(label, column[:, 0] if label.kind == "number" else aimed.classes)
    found = []
    for channel in (*view.every_channel(), *view.whole()):
        for each in LABEL_ATTACKS:
            if each.key == attack and label.kind in each.kinds and each.looks_at(channel):
                spread = judge.looks(each.run(view, channel, knowledge))
                found += [spread.mean] if spread else []
    return max(found)
