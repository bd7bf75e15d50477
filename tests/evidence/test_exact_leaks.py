"""Where the analysis reports an exact leak, an attack tells every label; elsewhere none does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from evidence.leak_specs import ELEMENTWISE, Spec, batch, leak_specs
from granting import granted
from hypothesis import HealthCheck, event, given, settings
from vflc_runtime.audit.exact import agrees, flat, proportional, recover
from vflc_runtime.run.session import Session
from vflc_runtime.transport.messages import Envelope

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.driver import compile_source
from vflc.passes.evidence.analysis import Leak, analyse
from vflc.passes.lower import lower
from vflc.passes.pipeline import pipeline
from vflc.syntax.parser import parse


def leaks(text: str) -> tuple[Leak, ...]:
    """What the analysis knows of every receiver."""
    collector = DiagnosticCollector()
    model = lower(parse(SourceText("leak.vfl", text), collector), "leak", None, collector)
    assert model is not None
    return analyse(pipeline().run(model, collector)).leaks


DRAWS = 24
"""Of large weights: by accident a few units may have one sign in all rows of a batch."""


class Attacked:
    """A spec at work, whose messages are listened to.

    Weights that have just been drawn are so small that every layer is nearly linear, and leaks nearly
    exactly. `wild` ones are large; in a few draws of them, what may hide a label does.
    """

    def __init__(self, spec: Spec, text: str, folder: Path) -> None:
        compile_source(SourceText("leak.vfl", text), precision="float64").write(folder)
        self.spec, self.heard = spec, list[Envelope]()
        self.session = Session(folder, seed=5, threads=1, listen=self.heard.append)
        ids = [i for plan in self.session.bundle.plans.values() for i in plan.inputs]
        self.inputs = batch(spec, ids, seed=1)

    def wild(self, seed: int) -> Attacked:
        rng = np.random.default_rng(seed)
        size = 2.0 + seed % 8
        for engine in self.session.engines.values():
            weights = engine.weights().items()
            engine.load({name: rng.normal(0, size / len(w) ** 0.5, w.shape) for name, w in weights})
        return self

    def recovers(self, leak: Leak) -> bool:
        """Whether any attack tells all labels of a batch from what one step sends to the receiver."""
        self.heard.clear()
        predicted = self.session.step(self.inputs).predictions["y"].copy()
        tensors = {name: np.array(v) for each in self.heard for name, v in each.tensors.items()}
        rows = {name: looked_at(self.spec, leak, name, tensors) for name in leak.edges}
        return recovered(self.spec, rows, self.inputs["bob.y"], predicted)


def looked_at(spec: Spec, leak: Leak, edge: str, tensors: dict[str, Any]) -> np.ndarray:
    """A gradient as its receiver looks at it: without the factor that it knows."""
    rows: np.ndarray = tensors[edge]
    if not leak.edges[edge].known:
        return rows
    slope = ELEMENTWISE[spec.first](tensors[edge.removesuffix(".gradient")])
    return np.where(slope != 0, rows / np.where(slope != 0, slope, 1), 0)


def recovered(spec: Spec, rows: dict[str, Any], labels: np.ndarray, predicted: np.ndarray) -> bool:
    """Whether any attack tells the label, for `mse` the residual or its sign, of all rows that it can see."""
    seen = np.any(np.concatenate([flat(t) for t in rows.values()], axis=1) != 0, axis=1)
    if len(set(labels.reshape(-1)[seen].tolist())) < spec.classes:
        return False  # a slope too small for a number: nothing to tell apart
    kept = {name: tensor[seen] for name, tensor in rows.items()}
    truth = labels.reshape(-1)[seen]
    guesses = recover(kept, spec.classes)
    if spec.loss != "mse":
        return any(agrees(guess, truth) for guess in guesses)
    rest = predicted.reshape(-1)[seen] - truth
    return any(proportional(guess, rest) or agrees(guess, np.sign(rest)) for guess in guesses)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(spec=leak_specs())
def test_attacks_agree_with_the_analysis(spec: Spec, tmp_path_factory: Any) -> None:
    text = granted(spec.text)
    attacked = Attacked(spec, text, tmp_path_factory.mktemp("leak"))
    for leak in leaks(text):
        exact = leak.exact and any(not c.unknown for c in leak.edges.values())
        event(f"{spec.loss} {'exact' if exact else 'open'}")
        if exact:
            assert attacked.recovers(leak), (leak.receiver, spec.text)
            continue
        told = all(attacked.wild(seed).recovers(leak) for seed in range(DRAWS))
        assert not told, (leak.receiver, spec.text)
