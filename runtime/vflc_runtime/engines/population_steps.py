"""A phase of a group of users in one run: all steps of each user, by an operator of our own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import vflc_kernels
from onnxruntime.capi import onnxruntime_pybind11_state as native
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.population_plan import Gradient, LocalPhase, PopulationGraph, PopulationWeight
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.kernels import LOG
from vflc_runtime.engines.onnx_rows_nodes import IR_VERSION, OPSET
from vflc_runtime.engines.onnx_session import CPU, onnx_errors, ort_value, self_contained, session, short

if TYPE_CHECKING:
    import onnx
    from vflc_kernels.user_steps import UserSteps


class JoinedSteps:
    """All steps of a phase at once, where its graph can be translated.

    Args:
        phase: what is computed and what it changes.
        weights: of the users.
        precision: of all numbers.
        threads: that share out the users; no bit depends on how many they are.
    """

    def __init__(
        self, phase: LocalPhase, weights: Mapping[str, PopulationWeight], precision: str, threads: int
    ) -> None:
        assert phase.graph is not None
        self._phase, self._weights, self._precision, self._threads = phase, weights, precision, threads
        self._graph = phase.graph
        gone = {value for each in phase.gradients for value in _values(each)}
        self._results = [name for name in phase.graph.outputs if name not in gone]
        self._several = [each for each in phase.gradients if len(each.rows) > 1]
        self._made = lru_cache(maxsize=16)(self._make)

    def __call__(
        self,
        feeds: Mapping[str, Array],
        values: Mapping[str, Array],
        slots: Mapping[str, Mapping[str, Array]],
        steps: Indices,
        batches: Indices,
    ) -> dict[str, Array] | None:
        """Makes all steps in place; what the graph gives but gradients, step after step [place, …].

        Args:
            feeds: the phase's inputs of every batch, [batch, user, …].
            values: the weights by name: [user, …], of a table the rows [rows, k] of all.
            slots: of each weight that changes by name, in its shape.
            steps: of each user, [user]; those who make more come first.
            batches: of each user, [user].

        Returns:
            None where the phase has to be run step by step.
        """
        arrays = {name: values[name] for name in self._graph.inputs if name in values}
        arrays |= {gradient.weight: values[gradient.weight] for gradient in self._phase.gradients}
        arrays |= {f"{w}#slot.{s}": array for w, own in slots.items() for s, array in own.items()}
        feeds = dict(feeds)
        for each in self._several:
            ids = [feeds[name] for name, _ in each.rows]
            feeds[_ids(each)] = np.concatenate(
                [one.reshape(*one.shape[:2], prod(one.shape[2:])) for one in ids], axis=2
            )
        shapes = tuple((name, array.shape[2:], array.dtype == np.int32) for name, array in feeds.items())
        made = self._made(shapes, tuple((name, array.shape[1:]) for name, array in arrays.items()))
        if made is None:
            return None
        active = np.count_nonzero(np.arange(int(steps.max(initial=0)))[:, None] < steps, axis=1)
        given = {"steps": steps, "batches": batches, "starts": np.cumsum(active) - active}
        try:
            return made.run({**given, **feeds}, arrays)
        except onnx_errors() as error:
            raise damaged(f"{self._graph.path} cannot run: {short(error)}") from None

    def _make(
        self,
        feeds: tuple[tuple[str, tuple[int, ...], bool], ...],
        arrays: tuple[tuple[str, tuple[int, ...]], ...],
    ) -> _Loaded | None:
        """What runs these shapes."""
        from vflc_kernels.user_program import Unable
        from vflc_kernels.user_steps import Changed, Given, user_steps

        tables = frozenset(
            name
            for name, _ in arrays
            if (own := self._weights.get(name.partition("#slot.")[0])) and own.table
        )
        given = Given(
            {name: (1, *shape) for name, shape, whole in feeds if not whole},
            {name: (1, *shape) for name, shape, whole in feeds if whole},
            {name: shape if name in tables else (1, *shape) for name, shape in arrays},
            tables,
        )
        changed = [
            Changed(
                each.weight,
                _values(each),
                None if each.dense else _ids(each),
                {slot.name: f"{each.weight}#slot.{slot.name}" for slot in self._phase.optimizer.slots},
            )
            for each in self._phase.gradients
        ]
        phase, optimizer = (_model(each).graph for each in (self._graph, self._phase.optimizer.graph))
        try:
            made = user_steps(phase, optimizer, given, changed, self._results, self._precision)
        except (Unable, KeyError, ValueError, IndexError, StopIteration):  # the last ones: of a damaged graph
            LOG.debug("%s runs step by step: it has what the operator UserSteps lacks", self._graph.path.name)
            return None
        return _Loaded(made, given.ids, self._precision, self._threads)


class _Loaded:
    """The session of one node, for given shapes."""

    def __init__(self, steps: UserSteps, ids: Collection[str], precision: str, threads: int) -> None:
        from onnx import TensorProto, helper, numpy_helper

        info = helper.make_tensor_value_info
        number = int(helper.np_dtype_to_tensor_dtype(np.dtype(precision)))
        kinds = dict.fromkeys(("steps", "batches", "starts"), int(TensorProto.INT64))
        kinds |= dict.fromkeys(ids, int(TensorProto.INT32))
        node, self._shapes = steps.node, steps.shapes
        self._inputs = [name for name in node.input if name != "constants"]
        self._changed = len(node.output) - len(self._shapes)
        self._outputs = list(node.output)
        graph = helper.make_graph(
            [node],
            "steps",
            [info(name, kinds.get(name, number), None) for name in self._inputs],
            [info(name, number, None) for name in self._outputs],
            [numpy_helper.from_array(steps.constants, "constants")],
        )
        domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(vflc_kernels.DOMAIN, 1)]
        model = helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
        self._session = session(model.SerializeToString(), 1, library=vflc_kernels.library(), pooled=threads)

    def run(self, feeds: Mapping[str, Array], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Changes arrays in place."""
        binding = native.SessionIOBinding(self._session)
        for name in self._inputs:
            binding.bind_ortvalue_input(name, ort_value(arrays[name] if name in arrays else feeds[name]))
        for name in self._outputs[: self._changed]:
            binding.bind_ortvalue_output(name, ort_value(arrays[name.removeprefix("new.")]))
        for name in self._outputs[self._changed :]:
            binding.bind_output(name, CPU)
        self._session.run_with_iobinding(binding, None)
        made = binding.get_outputs()  # by number: going through all ends with an error inside, in 60 µs
        return {
            name: made[number].numpy().reshape(-1, *shape)
            for number, (name, shape) in enumerate(
                zip(self._outputs[self._changed :], self._shapes, strict=True), self._changed
            )
        }


def joined(
    phase: LocalPhase, weights: Mapping[str, PopulationWeight], precision: str, threads: int
) -> JoinedSteps | None:
    """None where steps need more than the rows of a batch, or our operators are not there."""
    if phase.graph is None or not phase.gradients or not vflc_kernels.library():
        return None
    for gradient in phase.gradients:
        if gradient.dense is not None:
            if weights[gradient.weight].table:
                return None
        elif not gradient.rows or not phase.optimizer.sparse:
            return None
    return JoinedSteps(phase, weights, precision, threads)


def _values(gradient: Gradient) -> tuple[str, ...]:
    return (gradient.dense,) if gradient.dense else tuple(rows for _, rows in gradient.rows)


def _ids(gradient: Gradient) -> str:
    """What is fed as the ids of all rows of a gradient."""
    return gradient.rows[0][0] if len(gradient.rows) == 1 else f"{gradient.weight}#ids"


def _model(graph: PopulationGraph) -> onnx.ModelProto:
    import onnx

    return onnx.load_model_from_string(self_contained(graph.content, graph.path))
