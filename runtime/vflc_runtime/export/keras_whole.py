"""The merged Keras model: every layer and operation by the name that the spec gives it, ready to be trained.

It is the model as the spec writes it, not the parts that the parties run: a kernel that lies in slices at
several parties is one layer. Beside it in the file stands what `vflc import` needs to know of the tables.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.words import WHOLE

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.bundle.slices import joined
from vflc_runtime.engines.keras_models import load_model
from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.export.tables import tables
from vflc_runtime.run.session import Session

TABLES = "vflc.json"
"""The entry of a `.keras` archive that says of which columns its inputs are made."""


class Whole:
    """The model of all parties with the trained weights.

    Args:
        session: whose bundle was compiled for the Keras backend, with the parts of all places.

    Raises:
        Failure: VFL0613, the bundle does not hold it, or something else in its place.
    """

    def __init__(self, session: Session) -> None:
        plans = session.bundle.plans
        contents = next(iter(plans.values())).contents
        about = contents.json(f"{WHOLE}.json")
        file = about["file"].text()
        self.model = load_model(contents.read(file), contents.folder / file)
        self.inputs = [each.text() for each in about["inputs"]]
        self.outputs = [each.text() for each in about["outputs"]]
        self.labels = {output: label.value for output, label in about["labels"].items()}
        compiled = about.get("compile")
        self._compile = compiled.value if compiled is not None else None
        weights = {n: value for e in session.engines.values() for n, value in e.weights().items()}
        whole = joined(plans.values(), weights)
        for held in about["held"]:
            name = held["weight"].text()
            if name not in whole:
                raise damaged(f"{WHOLE}.json has a weight {name!r} that no place has")
            self._assign(held["layer"].text(), held["index"].integer(0), whole[name])

    def _assign(self, layer: str, index: int, value: Array) -> None:
        try:
            variable = self.model.get_layer(layer).weights[index]
            variable.assign(np.reshape(value, variable.shape))
        except (ValueError, IndexError):
            raise damaged(f"{WHOLE}.json: the layer {layer!r} has no such weight") from None

    def build(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs, from values of the inputs: its layers become those of the model that is being made."""
        given = [values[name] for name in self.inputs] or [values[name] for name in values]
        made = self.model._run_through_graph(given, operation_fn=lambda operation: operation)
        return dict(zip(self.outputs, made if isinstance(made, list) else [made], strict=True))

    def compile(self, model: Any) -> None:
        """Gives a model the spec's objective, metrics and optimizer, where Keras has them."""
        if self._compile is not None:
            made = tensorflow().keras.saving.deserialize_keras_object
            arguments = {name: _each(made, given) for name, given in self._compile.items()}
            model.compile(**arguments)


def _each(made: Any, given: Any) -> Any:
    """Objects of Keras in the places of what describes them."""
    if isinstance(given, Mapping):
        if "class_name" in given:
            return made(dict(given), safe_mode=True)
        return {name: _each(made, each) for name, each in given.items()}
    return [_each(made, each) for each in given] if isinstance(given, Sequence) else given


def add_tables(
    path: Path, bundle: Bundle, fitted: Mapping[str, Any], labels: Mapping[str, str | None]
) -> None:
    """Puts into a `.keras` archive the parties' columns as the spec declares them, with what was fitted.

    Args:
        path: of the archive.
        bundle: with the columns.
        fitted: parameters of encoders, by feature.
        labels: of each output, what it predicts.
    """
    about = {**tables(bundle, fitted), "labels": dict(labels)}
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(TABLES, (1980, 1, 1, 0, 0, 0))
        archive.writestr(entry, json.dumps(about, ensure_ascii=False, sort_keys=True), zipfile.ZIP_DEFLATED)
