"""`import_model`: from a file and owners to the text of a spec that compiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace
from vflc_common.words import ONNX_TABLES

from vflc import driver
from vflc.diagnostics import Diagnostic, Refused, SourceText
from vflc.importing.archive import Archive
from vflc.importing.keras_model import KerasModelReader
from vflc.importing.keras_training import metrics, optimizer, outputs
from vflc.importing.model import Imported
from vflc.importing.owners import Owned
from vflc.importing.write import spec
from vflc.syntax.format import format_spec
from vflc.translation.graph import refuse

if TYPE_CHECKING:
    from vflc.onnx_file import OnnxGraph


class WrittenSpec(Struct, frozen=True):
    """A spec that was written for a model.

    Args:
        text: formatted, with the grants that it needs.
        weights: of each weight of the spec, where the file holds it.
        notes: what a person should know of it; its head has the same.
        held: numbers by where the file holds them, of a file that was read whole.
    """

    text: str
    weights: Mapping[str, str]
    notes: tuple[str, ...] = ()
    held: Mapping[str, Any] | None = None


def read(path: Path) -> Imported:
    """The model in a file.

    Raises:
        Refused: VFL0700, VFL0701, VFL0703, VFL0705 or VFL0707 to VFL0709; each layer or operator that has no
            counterpart is named.
    """
    if path.suffix == ".onnx":
        return onnx(path)
    if path.suffix in (".pt", ".pth", ".pt2"):
        help = 'export it: torch.onnx.export(model, inputs, "model.onnx")'
        refuse("VFL0700", f"{path} is a file of PyTorch that holds code, which is not run", help)
    archive = Archive(path)
    model = KerasModelReader(archive)
    compiled = archive.config.get("compile_config")
    compiled = compiled if isinstance(compiled, Mapping) else {}
    learned = outputs(model.outputs, compiled)
    settings = _settings(compiled)
    return Imported(model.name, model.columns, learned, settings, model.parts.notes, tables=model.tables)


LOGIT = (
    "An output without an activation is taken for a number; of a logit write `predict … = sigmoid(…)` and"
    " `objective bce(…)`."
)


def onnx(path: Path) -> Imported:
    """The model in an ONNX file, which holds neither a loss nor an optimizer."""
    from vflc import onnx_file
    from vflc.translation import onnx_model

    graph = onnx_file.read(path)
    if ONNX_TABLES in graph.metadata:
        return _exported(graph)
    if "vflc" in graph.metadata:
        message = f"{path} is a model that vflc exported without the tables that it was made of: the part of "
        message += "one party, or a model of parties that may lack rows"
        refuse("VFL0766", message, "export the model of all parties: `vflc export RUN --merged -o FOLDER`")
    model = onnx_model.OnnxModelReader(graph)
    learned = outputs(model.outputs, {})
    notes = list(dict.fromkeys(model.notes))
    if any(output.loss == "mse" for output in learned):
        notes.append(LOGIT)
    return Imported(graph.name, model.columns, learned, [], notes, model.held)


def _exported(graph: OnnxGraph) -> Imported:
    """The same of a merged export, which says what its inputs are and how it was trained."""
    from vflc.importing.onnx_tables import OnnxTables
    from vflc.translation.onnx_model import OnnxModelReader

    tables = OnnxTables(graph)
    model = OnnxModelReader(tables.rest, tables.given)
    settings = _settings(tables.compiled)
    columns, learned = [*tables.features.values()], outputs(model.outputs, tables.compiled)
    return Imported(graph.name, columns, learned, settings, model.notes, model.held, tables)


def _settings(compiled: Mapping[str, Any]) -> list[str]:
    """Lines of `train`, of what a model was compiled with."""
    settings = optimizer(compiled) if compiled.get("optimizer") else []
    named = metrics(compiled)
    return [*settings, *([f"metrics {', '.join(named)}"] if named else [])]


def weights_of(path: Path, spec: WrittenSpec) -> dict[str, Any]:
    """The trained weights of a file by the spec's names, each an array of the weight's shape.

    Raises:
        Refused: VFL0503, h5py is not installed; VFL0700, the file's weights are not those of its model.
    """
    if spec.held is not None:
        return {name: _held(path, spec, name, shape) for name, shape in weight_shapes(spec).items()}
    from vflc.importing.keras_weights import WeightsFile

    held = WeightsFile(Archive(path))
    return {name: held.read(spec.weights[name], shape) for name, shape in weight_shapes(spec).items()}


def _held(path: Path, spec: WrittenSpec, name: str, shape: tuple[int, ...]) -> Any:
    """A weight that was read with the model; VFL0707 where it is none."""
    from vflc_common.numpy import np

    found = (spec.held or {})[spec.weights[name]].array()
    if tuple(found.shape) != shape or not np.isfinite(found).all():
        message = f"{path} has no {list(shape)} finite numbers for {spec.weights[name]}"
        refuse("VFL0707", message, "train the model again, and export it")
    return np.ascontiguousarray(found)


def weight_shapes(spec: WrittenSpec) -> dict[str, tuple[int, ...]]:
    """The shape of each weight of a spec that training changes or keeps."""
    graph = driver.unsplit_source(SourceText("imported.vfl", spec.text)).graph
    weights = {str(node.attrs["name"]): node.type.sizes for node in graph if node.op == "weight"}
    return {
        name: tuple(size for size in sizes if size is not None)
        for name, sizes in weights.items()
        if name in spec.weights
    }


def _of_model(found: Diagnostic) -> Diagnostic:
    """What the compiler says of a spec that is not written: where it asks for a layer, the model needs it."""
    if found.code not in ("VFL0301", "VFL0302"):
        return found
    instead = "in the model that is imported; or give all the inputs that it joins to one party"
    return replace(found, help=f"{found.help}, {instead}" if found.help else instead)


def import_model(
    path: Path, owners: Owned, labels: Owned, key: str = "ID", name: str = "spec.vfl"
) -> WrittenSpec:
    """A spec for the model in a file.

    Args:
        path: a `.keras` archive, or an ONNX file, `.onnx`.
        owners: the inputs that each party owns.
        labels: the label columns of each party, in the order of the outputs.
        key: the key column of every party.
        name: of the spec, for messages.

    Raises:
        Refused: what of it cannot be imported, or what in the spec the compiler refuses.
    """
    model = read(path)
    written, weights = spec(model, owners, labels, key, path.name)
    text = format_spec(written, name)
    examined = driver.examine(SourceText(name, text))
    text = driver.repaired(examined)
    examined = driver.examine(SourceText(name, format_spec(text, name)))
    if examined.refused:
        raise Refused([_of_model(found) for found in examined.diagnostics])
    notes = tuple(dict.fromkeys([*model.notes, *(note for out in model.outputs for note in out.notes)]))
    return WrittenSpec(examined.source.text, weights, notes, model.held)
