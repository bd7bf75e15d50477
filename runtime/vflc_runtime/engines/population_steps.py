"""A step of a phase as one graph: what the phase computes and its optimizer, which else run in turn.

A step of 50 users is so little work that calling onnxruntime costs more than what it computes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.population_plan import Gradient, LocalPhase, PopulationGraph
from vflc_runtime.engines.onnx_session import self_contained
from vflc_runtime.engines.population_runners import OnnxRunner

if TYPE_CHECKING:
    import onnx

STEP = "update#step"


def joined(phase: LocalPhase, precision: str, tables: Collection[str]) -> JoinedStep | None:
    """The steps of a phase on onnxruntime; None where an update needs more than the rows of a batch.

    `tables` are the weights that are read by id.
    """
    if phase.graph is None or not phase.gradients:
        return None
    for gradient in phase.gradients:
        by_rows = gradient.dense is None and len(gradient.rows) == 1 and phase.optimizer.sparse
        if not by_rows and (gradient.dense is None or gradient.weight in tables):
            return None
    return JoinedStep(phase, precision)


class JoinedStep:
    """Gradients and updates of all weights of a phase in one run, for batches that read no row twice.

    Attributes:
        apart: whether batches that read different rows may as well be those of different users.
    """

    def __init__(self, phase: LocalPhase, precision: str) -> None:
        self._gradients, self._precision = phase.gradients, precision
        self._slots = [slot.name for slot in phase.optimizer.slots]
        numbered = any("step" in node.input for node in _model(phase.optimizer.graph).graph.node)
        self.apart = not numbered and all(gradient.dense is None for gradient in phase.gradients)
        self._run = OnnxRunner(_join(phase, precision), precision)

    def __call__(
        self,
        feeds: Mapping[str, Array],
        values: Mapping[str, Array],
        slots: Mapping[str, Mapping[str, Array]],
        users: int,
        step: int,
    ) -> dict[str, Array]:
        """Makes a step of the first `users` users, in place; what its graph gives but gradients.

        Args:
            feeds: the phase's inputs.
            values: the weights by name: [user, …], of a table the rows [rows, k] of all.
            slots: of each weight by name, in its shape.
            users: how many take the step.
            step: its number, from 1.
        """
        given = dict(feeds)
        given[STEP] = np.asarray(step, self._precision)
        for gradient in self._gradients:
            for name, slot in slots[gradient.weight].items():
                given[_slot(gradient, name)] = slot if gradient.dense is None else slot[:users]
        made = self._run(given)
        for number, gradient in enumerate(self._gradients):
            for name, to in (("weight", values[gradient.weight]), *slots[gradient.weight].items()):
                new = made.pop(f"update.{number}#new.{name}")
                if gradient.dense is not None:
                    to[:users] = new.reshape(to[:users].shape)
                    continue
                ids, rows = feeds[gradient.rows[0][0]].reshape(-1), new.reshape(-1, to.shape[1])
                real = ids > 0  # row 0 and -1 are nobody's
                if real.all():
                    to[ids] = rows
                else:
                    to[ids[real]] = rows[real]
        return made


def _slot(gradient: Gradient, name: str) -> str:
    return f"{gradient.weight}#slot.{name}"


def _join(phase: LocalPhase, precision: str) -> PopulationGraph:
    """The phase's graph with its optimizer's once for each gradient, over what lies flat."""
    import onnx
    from onnx import helper

    assert phase.graph is not None
    base = _model(phase.graph)
    graph, kind = base.graph, helper.np_dtype_to_tensor_dtype(np.dtype(precision))
    read, made = list(phase.graph.inputs), []
    flat = f"{STEP}#flat"
    graph.initializer.append(helper.make_tensor(flat, onnx.TensorProto.INT64, [1], [-1]))
    gone = {gradient.dense or gradient.rows[0][1] for gradient in phase.gradients}

    def asked(name: str, shape: list[Any] | None) -> str:
        graph.input.append(helper.make_tensor_value_info(name, kind, shape))
        read.append(name)
        return name

    asked(STEP, [])
    for number, gradient in enumerate(phase.gradients):
        prefix = f"update.{number}#"
        sources = {"weight": gradient.weight, "gradient": gradient.dense or gradient.rows[0][1]}
        sources |= {slot.name: asked(_slot(gradient, slot.name), None) for slot in phase.optimizer.slots}
        renamed = {"step": STEP}
        for name, source in sources.items():
            if gradient.dense is None and name != "gradient":
                graph.node.append(
                    helper.make_node(
                        "Gather", [source, gradient.rows[0][0]], [f"{prefix}rows.{name}"], axis=0
                    )
                )
                source = f"{prefix}rows.{name}"
            renamed[name] = f"{prefix}{name}"
            graph.node.append(helper.make_node("Reshape", [source, flat], [renamed[name]]))
        _add(graph, _model(phase.optimizer.graph).graph, prefix, renamed)
        made += [f"{prefix}{name}" for name in phase.optimizer.graph.outputs]
    kept = [output for output in graph.output if output.name not in gone]
    del graph.output[:]
    graph.output.extend(kept)
    graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name in made)
    outputs = (*(output.name for output in kept), *made)
    return PopulationGraph(phase.graph.path, base.SerializeToString(), tuple(read), outputs)


def _model(graph: PopulationGraph) -> onnx.ModelProto:
    import onnx

    return onnx.load_model_from_string(self_contained(graph.content, graph.path))


def _add(graph: onnx.GraphProto, part: onnx.GraphProto, prefix: str, renamed: Mapping[str, str]) -> None:
    """Adds the nodes of `part`, with its inputs renamed and all else prefixed."""

    def name(old: str) -> str:
        return renamed.get(old, f"{prefix}{old}") if old else old

    for constant in part.initializer:
        constant.name = name(constant.name)
        graph.initializer.append(constant)
    for node in part.node:
        node.input[:] = map(name, node.input)
        node.output[:] = map(name, node.output)
        node.name = ""
        graph.node.append(node)
