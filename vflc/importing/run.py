"""`import_model`: from a file and owners to the text of a spec that compiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from vflc import driver
from vflc.diagnostics import Refused, SourceText
from vflc.importing.archive import Archive
from vflc.importing.graph import Imported, refuse
from vflc.importing.keras_model import KerasModelReader
from vflc.importing.keras_training import metrics, optimizer, outputs
from vflc.importing.owners import Owned
from vflc.importing.write import spec
from vflc.syntax.format import format_spec


class WrittenSpec(Struct, frozen=True):
    """A spec that was written for a model.

    Args:
        text: formatted, with the grants that it needs.
        weights: of each weight of the spec, where the file holds it.
    """

    text: str
    weights: Mapping[str, str]


def read(path: Path) -> Imported:
    """The model in a file.

    Raises:
        Refused: VFL0700, VFL0701, VFL0703 or VFL0705; each layer that has no counterpart is named.
    """
    archive = Archive(path)
    model = KerasModelReader(archive)
    compiled = archive.config.get("compile_config")
    compiled = compiled if isinstance(compiled, Mapping) else {}
    learned = outputs(model.outputs, compiled)
    settings = optimizer(compiled) if compiled.get("optimizer") else []
    named = metrics(compiled)
    settings += [f"metrics {', '.join(named)}"] if named else []
    return Imported(model.name, model.columns, learned, settings, model.notes)


def weights_of(path: Path, spec: WrittenSpec) -> dict[str, Any]:
    """The trained weights of a file by the spec's names, each an array of the weight's shape.

    Raises:
        Refused: VFL0503, h5py is not installed; VFL0700, the file's weights are not those of its model.
    """
    from vflc.importing.keras_weights import WeightsFile

    held = WeightsFile(Archive(path))
    return {name: held.read(spec.weights[name], shape) for name, shape in weight_shapes(spec).items()}


def weight_shapes(spec: WrittenSpec) -> dict[str, tuple[int, ...]]:
    """The shape of each weight of a spec that training changes or keeps."""
    graph = driver.unsplit_source(SourceText("imported.vfl", spec.text)).graph
    weights = {str(node.attrs["name"]): node.type.sizes for node in graph if node.op == "weight"}
    return {
        name: tuple(size for size in sizes if size is not None)
        for name, sizes in weights.items()
        if name in spec.weights
    }


def import_model(
    path: Path, owners: Owned, labels: Owned, key: str = "ID", name: str = "spec.vfl"
) -> WrittenSpec:
    """A spec for the model in a file.

    Args:
        path: a `.keras` archive.
        owners: the inputs that each party owns.
        labels: the label columns of each party, in the order of the outputs.
        key: the key column of every party.
        name: of the spec, for messages.

    Raises:
        Refused: what of it cannot be imported, or what in the spec the compiler refuses.
    """
    if not owners:
        refuse(
            "VFL0702", "nobody owns the inputs of the model", "name their owners: --owner alice=UserID,Gender"
        )
    written, weights = spec(read(path), owners, labels, key, path.name)
    text = format_spec(written, name)
    examined = driver.examine(SourceText(name, text))
    text = driver.repaired(examined)
    examined = driver.examine(SourceText(name, format_spec(text, name)))
    if examined.refused:
        raise Refused(examined.diagnostics)
    return WrittenSpec(examined.source.text, weights)
