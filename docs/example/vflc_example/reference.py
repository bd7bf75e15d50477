"""An engine in NumPy alone, by ONNX's reference evaluator: slow, and short enough to be read.

Rows of tables are updated in every step, not only in those that read them, so that none is ever behind.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from vflc_common.engine import EngineRecord
from vflc_runtime.bundle.plan import DenseUpdate, Plan, RowsUpdate, Weight
from vflc_runtime.engines.initial import first_value
from vflc_runtime.engines.randoms import uniform
from vflc_runtime.engines.updates import clip_factor
from vflc_runtime.errors import Failure

Array = NDArray[Any]


class Reference:
    """One place; `vflc_runtime.engines.engine` says what the methods mean."""

    def __init__(self, plan: Plan, programs: tuple[str, ...], seed: int, threads: int | None) -> None:
        self.plan, self._seed = plan, seed
        self._graphs: dict[str, ReferenceEvaluator] = {}
        self._arrays = {a.name: np.empty(a.shape, plan.precision) for a in plan.arrays.values()}
        self._slots: dict[str, dict[str, Array]] = {}
        for update in plan.updates.values():
            for array in update.arrays if isinstance(update, DenseUpdate) else (update.array,):
                kept = plan.optimizers[update.optimizer].slots
                self._slots[array] = {
                    slot.name: np.full(self._arrays[array].shape, slot.init, plan.precision) for slot in kept
                }
        for weight in plan.weights.values():
            value = first_value(seed, weight, plan.precision)
            self._part(self._arrays[weight.array], weight)[...] = value

    def _part(self, array: Array, weight: Weight) -> Array:
        """A weight's rows in an array, which may hold several."""
        return array[weight.offset : weight.offset + weight.shape[0]] if weight.shape else array

    def begin(self, program: str, inputs: Mapping[str, Array], rows: int, step: int) -> None:
        dtypes = {
            each.id: "int32" if each.dtype == "int" else self.plan.precision
            for each in self.plan.inputs.values()
        }
        self._values = {name: np.array(each, dtypes[name]) for name, each in inputs.items()}
        self._step = step
        for random in self.plan.randoms.values():
            shape = tuple(rows if size is None else size for size in random.shape)
            self._values[random.id] = uniform(self._seed, random.id, step, shape, self.plan.precision)

    def run(self, graph: str) -> None:
        declared = self.plan.graphs[graph]
        self._values |= self._run(graph, {name: self.get(name) for name in declared.inputs})

    def _run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if graph not in self._graphs:
            model = onnx.load_model_from_string(self.plan.graph_content(graph))
            self._graphs[graph] = ReferenceEvaluator(model)
        outputs = self.plan.graphs[graph].outputs
        return dict(zip(outputs, map(np.asarray, self._graphs[graph].run(outputs, inputs)), strict=True))

    def catch_up(self, update: str) -> None:
        """No row is behind."""

    def update(self, update: str) -> None:
        rule = self.plan.updates[update]
        if isinstance(rule, RowsUpdate):
            self._rows(rule)
            return
        flat, start = self._values[rule.gradient].reshape(-1), 0
        for name in rule.arrays:
            size = self.plan.arrays[name].size
            self._change(rule.optimizer, name, flat[start : start + size].reshape(self._arrays[name].shape))
            start += size

    def _rows(self, rule: RowsUpdate) -> None:
        gradient = np.zeros_like(self._arrays[rule.array])
        read = np.zeros(len(gradient), bool)
        for ids, parts in rule.gradients:
            rows = self._values[ids].reshape(-1)
            np.add.at(gradient, rows[rows >= 0], self._values[parts].reshape(len(rows), -1)[rows >= 0])
            read[rows[rows >= 0]] = True
        every = self.plan.optimizers[rule.optimizer].catch_up is not None
        self._change(rule.optimizer, rule.array, gradient, slice(None) if every else read)

    def _change(self, optimizer: str, name: str, gradient: Array, rows: Any = ...) -> None:
        """One step of an array, or of rows of it."""
        rule, array, slots = self.plan.optimizers[optimizer], self._arrays[name], self._slots[name]
        if rule.clip_norm is not None:
            for weight in (each for each in self.plan.weights.values() if each.array == name):
                part = self._part(gradient, weight)
                part *= clip_factor(part, rule.clip_norm)
        given = {"weight": array, "gradient": gradient, **slots}
        flat = {key: value[rows].reshape(-1) for key, value in given.items()}
        needed = self.plan.graphs[rule.graph].inputs
        flat |= {"step": np.asarray(self._step, self.plan.precision)} if "step" in needed else {}
        made = self._run(rule.graph, {key: flat[key] for key in needed})
        for key, value in {"weight": array, **slots}.items():
            value[rows] = made[f"new.{key}"].reshape(value[rows].shape)

    def assign(self, array: str) -> None:
        self._arrays[array][...] = self.get(self.plan.assigns[array])

    def put(self, value: str, tensor: Array) -> None:
        self._values[value] = np.array(tensor)

    def get(self, value: str) -> Array:
        return self._arrays[value].copy() if value in self._arrays else self._values[value]

    def values(self) -> list[str]:
        return list(self._values)

    def weights(self) -> dict[str, Array]:
        return {w.name: self._part(self._arrays[w.array], w) for w in self.plan.weights.values()}

    def stored(self) -> dict[str, Array]:
        return {}

    def slots(self) -> dict[str, Array]:
        return {
            f"{weight.name}/{name}": self._part(slot, weight)
            for weight in self.plan.weights.values()
            for name, slot in self._slots.get(weight.array, {}).items()
        }

    def load(
        self, weights: Mapping[str, Array], slots: Mapping[str, Array] | None = None, step: int | None = None
    ) -> None:
        kept = self.slots()
        if slots is not None and slots.keys() != kept.keys():  # another engine's rows may be behind
            raise Failure("VFL0621", "the optimizer's slots are not those of the engine 'reference'")
        for name, mine in {**self.weights(), **(kept if slots else {})}.items():
            mine[...] = weights[name] if name in weights else (slots or {})[name]


ENGINE = EngineRecord(
    name="reference",
    doc="ONNX's reference evaluator, in NumPy",
    reads="onnx",
    make=Reference,
    library="onnx",
)
