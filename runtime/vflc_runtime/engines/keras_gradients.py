"""Gradients by TensorFlow's tape, independent of the rules that the compiler differentiates by."""

from __future__ import annotations

from typing import Any

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.bundle.plan_keras import RowGradient, TapePlan
from vflc_runtime.engines.keras_models import KerasValues, PlaceWeights
from vflc_runtime.engines.keras_setup import tensorflow


class TapeGradients:
    """One use of the tape: puts gradients of received values and of weights into `values`.

    Args:
        graphs: the models whose variables the tape sees.
    """

    def __init__(self, plan: Plan, spec: TapePlan, weights: PlaceWeights, graphs: set[str]) -> None:
        self._tf = tensorflow().tf
        self._plan, self._spec = plan, spec
        names = [name for _, group in spec.dense for name in group] + [row.weight for row in spec.rows]
        self._variables = {name: weights.in_models(name, graphs) for name in names}
        gradients = [name for name, _ in spec.crossing] + [name for name, _ in spec.dense]
        self._outputs = [*gradients, *(name for rows in spec.rows for name in (rows.ids, rows.gradient))]
        read = [value for _, value in spec.crossing] + [name for rows in spec.rows for name in rows.read]
        read += [name for received in spec.received.values() for name in received]
        self._inputs = list(dict.fromkeys(read))
        self._sorted = self._tf.function(self._sort, autograph=False, reduce_retracing=True)

    def run(self, tape: Any, values: KerasValues) -> None:
        """Takes the seeds from `values`, which hold what the tape has seen."""
        given = [values[name] for name in self._inputs]
        values.update(zip(self._outputs, self._sorted(self._taken(tape, values), given), strict=True))

    def _sort(self, found: list[Any], given: list[Any]) -> list[Any]:
        """The gradients as the plan wants them, from those of the sources one after another."""
        spec, values = self._spec, dict(zip(self._inputs, given, strict=True))
        parts = iter(found)
        made = [self._dense([next(parts)], values[value]) for _, value in spec.crossing]
        by_weight = {name: [next(parts) for _ in each] for name, each in self._variables.items()}
        for _, names in spec.dense:
            flat = [self._tf.reshape(self._weight(n, by_weight[n], values), (-1,)) for n in names]
            made.append(flat[0] if len(flat) == 1 else self._tf.concat(flat, 0))
        for rows in spec.rows:
            made += self._rows(rows, by_weight[rows.weight], values)
        return made

    def _taken(self, tape: Any, values: KerasValues) -> list[Any]:
        """The tape's gradients, None where nothing flows."""
        tf, seeds = self._tf, dict[str, Any]()
        for seed in self._spec.seeds:
            if seed.gradient is not None:
                start = values[seed.gradient]
            else:
                start = tf.fill(tf.shape(values[seed.value]), tf.cast(seed.coefficient, self._plan.precision))
            seeds[seed.value] = start if seed.value not in seeds else seeds[seed.value] + start
        sources = [values[value] for _, value in self._spec.crossing]
        sources += [v for variables in self._variables.values() for v in variables]
        if not seeds:
            return [None] * len(sources)
        targets = [values[value] for value in seeds]
        return list(tape.gradient(targets, sources, list(seeds.values())))

    def _dense(self, parts: list[Any], like: Any) -> Any:
        """The sum of gradients in the shape of `like`, which is zero where there are none."""
        tf = self._tf
        shaped = [
            tf.reshape(tf.convert_to_tensor(part), tf.shape(like)) for part in parts if part is not None
        ]
        return tf.add_n(shaped) if shaped else tf.zeros_like(like)

    def _weight(self, name: str, parts: list[Any], values: KerasValues) -> Any:
        """The gradient of a weight: what the tape found in each model, and what other places sent."""
        received = [values[gradient] for gradient in self._spec.received.get(name, ())]
        return self._dense(parts + received, self._variables[name][0])

    def _rows(self, rows: RowGradient, parts: list[Any], values: KerasValues) -> tuple[Any, Any]:
        """The distinct rows that ids name, -1 none of them, and the sum of each row's gradients."""
        tf = self._tf
        read = tf.concat([tf.reshape(values[name], (-1,)) for name in rows.read], 0)
        touched, _ = tf.unique(tf.gather(read, tf.reshape(tf.where(read >= 0), (-1,))))
        total = tf.zeros((tf.size(touched), self._plan.arrays[rows.weight].shape[1]), self._plan.precision)
        for part in parts:
            if part is None:
                continue
            if not isinstance(part, tf.IndexedSlices):
                total += tf.gather(tf.reshape(part, self._plan.arrays[rows.weight].shape), touched)
                continue
            # Where the ids that were read come first, they keep their order; the rest is cut off.
            every, positions = tf.unique(tf.concat([touched, tf.cast(part.indices, touched.dtype)], 0))
            _, own = tf.split(positions, [tf.size(touched), -1])
            total += tf.math.unsorted_segment_sum(part.values, own, tf.size(every))[: tf.size(touched)]
        return touched, total
