"""Where nothing is learned of a column, every message is the same whatever the column holds."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from compiler.random_specs import batch, specs
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from learn.learn_specs import learn_specs
from vflc_runtime.errors import Failure
from vflc_runtime.run import fitting
from vflc_runtime.run.session import Session
from vflc_runtime.transport.messages import Envelope

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.passes.learn.received import received

STEPS, ROWS = 3, 6
Inputs = dict[str, np.ndarray[Any, Any]]


class Heard:
    """All that each place is told in a few steps of training, an evaluation and a prediction."""

    def __init__(self, folder: Path, messages: list[dict[str, Any]]) -> None:
        self._folder = folder
        self._receivers = {message["id"]: message["to"] for message in messages}

    def of(self, batches: list[Inputs]) -> dict[str, list[tuple[str, bytes]]]:
        found: dict[str, list[tuple[str, bytes]]] = {}

        def listen(envelope: Envelope) -> None:
            for name, tensor in envelope.tensors.items():
                told = f"{envelope.program} {name} {np.shape(tensor)}"
                receiver = self._receivers[envelope.message]
                found.setdefault(receiver, []).append((told, np.asarray(tensor).tobytes()))

        session = Session(self._folder, seed=3, threads=1, listen=listen)
        if session.fits_tables:
            with suppress(Failure):  # labels that never vary: refusals are not analysed
                fitting.fit(session, [(inputs, ROWS) for inputs in batches], {})
        for inputs in batches:
            session.step(inputs)
        session.evaluate(batches[0])
        session.predict(batches[0])
        return found


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.one_of(learn_specs(), learn_specs(), specs()))
def test_what_is_not_learned_moves_no_message(text: str, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("learn")
    bundle = compile_source(SourceText("random.vfl", text), precision="float64")
    bundle.write(folder)
    heard, reaching = Heard(folder, bundle.manifest["messages"]), received(bundle.model)
    batches = [batch(_encoders(bundle.files), ROWS, seed) for seed in range(STEPS)]
    before = heard.of(batches)
    for secret in batches[0]:
        party, _, name = secret.partition(".")
        untold = [
            place
            for place, known in reaching.items()
            if place != party and not any((s.source.party, s.source.name) == (party, name) for s in known)
        ]
        event(f"untold to {len(untold)}")
        if untold:
            after = heard.of([_changed(inputs, secret, seed) for seed, inputs in enumerate(batches)])
            for place in untold:
                assert before.get(place) == after.get(place), (secret, place, text)


def _encoders(files: dict[str, bytes]) -> dict[str, Any]:
    found = [json.loads(data) for name, data in files.items() if name.endswith("/encoders.json")]
    return {"parties": {name: table for each in found for name, table in each["parties"].items()}}


def _changed(inputs: Inputs, name: str, seed: int) -> Inputs:
    """The batch with other values of one feature or label, within what its column can hold."""
    rng = np.random.default_rng(100 + seed)
    old = inputs[name]
    return inputs | {name: rng.permutation(old.reshape(-1)).reshape(old.shape) if old.size else old}
