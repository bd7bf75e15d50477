"""The merged ONNX model as the spec writes it: weights by its names, no table fused, no kernel cut.

Beside it in the file's metadata stands what `vflc import` needs to know of the tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.words import ONNX_TABLES, WHOLE

from vflc_runtime.bundle.reading import damaged
from vflc_runtime.bundle.slices import joined
from vflc_runtime.export.tables import tables
from vflc_runtime.run.session import Session

if TYPE_CHECKING:
    import onnx


class WholeOnnx:
    """The graph of all parties, and the trained weights that are its inputs, by name, [*].

    Args:
        session: with the parts of all places, whose bundle has the graph.
        fitted: parameters of encoders, by feature.

    Raises:
        Failure: VFL0613, the bundle holds something else in its place.
    """

    def __init__(self, session: Session, fitted: Mapping[str, Any]) -> None:
        import onnx

        self._bundle, self._fitted = session.bundle, fitted
        plans = session.bundle.plans
        contents = next(iter(plans.values())).contents
        try:
            self.graph: onnx.GraphProto = onnx.load_model_from_string(contents.read(f"{WHOLE}.onnx")).graph
        except Exception as wrong:  # protobuf's own exceptions have no common base
            raise damaged(f"{WHOLE}.onnx cannot be read") from wrong
        self._about = contents.json(f"{WHOLE}.json").value
        weights = {n: value for e in session.engines.values() for n, value in e.weights().items()}
        held = joined(plans.values(), weights)
        self.weights: dict[str, Array] = {
            info.name: np.ascontiguousarray(held[info.name]) for info in self.graph.input if info.name in held
        }

    def metadata(self) -> dict[str, str]:
        """Entries of the file: the parties' columns as the spec declares them, with what was fitted."""
        about = {**tables(self._bundle, self._fitted), **self._about}
        return {ONNX_TABLES: json.dumps(about, ensure_ascii=False, sort_keys=True)}


def has_whole(session: Session) -> bool:
    """Whether the model as the spec writes it predicts what the parts do: nothing is limited on its way."""
    plans = session.bundle.plans
    guarded = any("predict" in guard.programs for plan in plans.values() for guard in plan.guards.values())
    return not guarded and f"{WHOLE}.onnx" in next(iter(plans.values())).contents.files
