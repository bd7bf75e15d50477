"""What an audit works on: a run, its transcripts, its data; and views that hold one place's share of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.audit.adversary_view import AdversaryView, by_row
from vflc_runtime.audit.attacks.start import Start
from vflc_runtime.audit.draws import drawn, units
from vflc_runtime.audit.initial import Imitation, imitate
from vflc_runtime.audit.joined_rows import JoinedRows, JoinedTranscript
from vflc_runtime.audit.judge import Judge
from vflc_runtime.audit.knowledge import AttackedLabel, Knowledge
from vflc_runtime.audit.simulation import PREDICTED, MessageRecorder, first_steps, records_all
from vflc_runtime.audit.targets import target, varying
from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.manifest import Edge
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.source import TableSource
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener
from vflc_runtime.run import loading
from vflc_runtime.run.results import read_results
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.trained import trained_session
from vflc_runtime.run.transcript import RecordedStep, Transcript


@dataclass(frozen=True, slots=True)
class Context:
    """A run, opened for an audit; the truth is in `data`, and only knowledge and judges are made from it."""

    run: RunFolder
    bundle: Bundle
    data: Dataset
    transcripts: Path
    joined: JoinedRows | None
    whole: Mapping[str, Mapping[str, RecordedStep]]
    edges: tuple[dict[str, Any], ...]
    threads: int | None

    @classmethod
    def open(
        cls,
        run: Path,
        transcripts: Path,
        sources: Mapping[str, TableSource],
        engine: str,
        threads: int | None,
        listen: Listener,
        apart: Mapping[str, TableSource] | None = None,
    ) -> Context:
        """Reads a run and its data, and predicts with it as its parties would.

        `apart` are the tables that the run validates with, where it has such.

        Raises:
            Failure: VFL0626 where the data are not those that
                were trained on; VFL0680 where nothing was recorded; others as data and run give cause.
        """
        folder = RunFolder(run)
        bundle, settings = folder.bundle(engine), folder.settings
        if not any(len(Transcript(transcripts, place)) for place in bundle.plans):
            raise Failure(
                "VFL0680",
                "the run has no transcript: nothing crossed in the recorded steps",
                "audit a model with several places: a model at one place sends nothing",
            )
        fitted = folder.fitted(bundle)
        data = loading.load_training(bundle, sources, settings, fitted, listen, apart=apart)
        found = loading.marks(bundle, settings, data, apart is not None)
        loading.same_rows(run, settings, found, "give the data that the run was trained on")
        edges = bundle.manifest.document["edges"]
        joined = JoinedRows(bundle, data, settings) if bundle.manifest.once else None
        data = data if joined is None else joined.flat()
        whole = _heard(folder, bundle, data, engine, threads)
        return cls(folder, bundle, data, transcripts, joined, whole, tuple(edges), threads)

    def view(self, place: str) -> AdversaryView:
        """What a place knows."""
        tables = self.bundle.plans[place].tables
        own = {name: rows for name, rows in self.data.inputs.items() if name.partition(".")[0] in tables}
        transcript = Transcript(self.transcripts, place)
        if self.joined is not None:
            transcript = JoinedTranscript(transcript, self.joined)
        return AdversaryView(place, self.bundle.manifest, transcript, self.whole[place], own, self.data.rows)

    def labels(self, place: str) -> Iterator[tuple[Knowledge, Judge]]:
        """Labels that a place does not own: what hands out knowledge, and what judges."""
        tables = self.bundle.plans[place].tables
        seen: set[str] = set()
        for plan in self.bundle.plans.values():
            for each in plan.inputs.values():
                if not each.label or each.party in tables or each.id in seen:
                    continue
                truth = self.data.inputs[each.id]
                if truth.reshape(len(truth), -1).shape[1] == 1:
                    seen.add(each.id)
                    values = truth.reshape(-1)
                    label = self._label(each.id, values)
                    yield Knowledge(label, values), Judge(label, values)

    def told(self, place: str) -> Iterator[tuple[Knowledge, Judge]]:
        """Features of others that something told the place of depends on, as labels under attack."""
        for name, values in self.features(place, tuple(edge["id"] for edge in self.edges)).items():
            aimed = target(name, values, values)
            if aimed is None:
                continue
            number = itemgetter((slice(None), varying(values) if values.dtype.kind == "f" else 0))
            if values.dtype.kind == "f" and len(np.unique(number(values)[:PREDICTED])) > 2:
                label, truth = AttackedLabel(name, "number", 2), number(values).astype(np.float64)
                yield Knowledge(label, truth, None, number), Judge(label, truth)
            else:
                label = AttackedLabel(
                    name, "binary" if len(aimed.shares) == 2 else "classes", len(aimed.shares)
                )
                items = values if values.ndim == 1 else aimed.classes
                yield Knowledge(label, aimed.classes, None, aimed.spelled), Judge(label, aimed.classes, items)

    def starts(self, engine: str) -> dict[str, Start]:
        """What each place makes of the initial weights, with rows drawn from what columns hold."""
        whole = units(self.bundle.manifest.document.get("learned", ()), self.data.inputs)
        made = drawn(self.data, whole, np.random.default_rng(0))
        first = first_steps(self.bundle, made, self.run.settings, engine, self.threads)
        return {place: Start(made.inputs, steps) for place, steps in first.items()}

    def features(self, place: str, edges: tuple[str, ...]) -> dict[str, Array]:
        """Features of others that flowed into edges, as encoded [rows, …]."""
        tables = self.bundle.plans[place].tables
        labels = {i.id for plan in self.bundle.plans.values() for i in plan.inputs.values() if i.label}
        return {
            name: self.data.inputs[name]
            for name in sorted(self.depends_on(edges))
            if name in self.data.inputs and name not in labels and name.partition(".")[0] not in tables
        }

    def depends_on(self, edges: tuple[str, ...]) -> set[str]:
        """Columns that flowed into edges, as the manifest says."""
        return {name for edge in self.edges if edge["id"] in edges for name in edge.get("depends_on", ())}

    def imitation(self) -> Imitation:
        """What anybody can make of the spec and the seed: the initial model on rows that are made up."""
        described = loading.encoders(self.bundle)["parties"]
        sizes = {
            f"{party}.{column['name']}": column.get("rows")
            for party, info in described.items()
            for column in info["columns"]
        }
        start = self.run.path if self.run.settings.get("given") else None
        return imitate(self.bundle, self.run.settings["seed"], sizes, self.threads, start)

    def passed(self, attacked: Collection[str], places: Collection[str]) -> dict[str, str]:
        """What crosses that no attack looked at, and why: edges by id, and control messages.

        Args:
            attacked: edges that some attack looked at.
            places: that were curious.
        """
        manifest = self.bundle.manifest
        found = {
            edge.id: _why_not(edge, places) for edge in manifest.edges.values() if edge.id not in attacked
        }
        controls = [each for each in manifest.controls if each.receiver in places]
        if controls:
            kinds = ", ".join(dict.fromkeys(each.kind for each in controls))
            most = max(each.bytes for each in controls)
            found["control messages"] = f"at most {most:,} bytes each: {kinds}"
        return found

    def task(self) -> dict[str, Any]:
        """How good the model is, as the run measured it."""
        metrics = read_results(self.run.path) or {}
        return {rows: metrics[rows] for rows in ("train", "validation") if metrics.get(rows)}

    def _label(self, name: str, truth: Array) -> AttackedLabel:
        if truth.dtype.kind != "f":
            return AttackedLabel(name, "classes", int(truth.max(initial=1)) + 1)
        binary = bool(np.isin(truth, (0, 1)).all())
        return AttackedLabel(name, "binary" if binary else "number", 2)


def _heard(
    run: RunFolder, bundle: Bundle, data: Dataset, engine: str, threads: int | None
) -> dict[str, dict[str, RecordedStep]]:
    """One batch of evaluation and one of prediction with the trained model, as each place saw them."""
    hearing = MessageRecorder(bundle.manifest.messages, tuple(bundle.plans))
    found = {
        program: records_all(trained_session(run, program, engine, threads, hearing), hearing, data, program)
        for program in ("evaluate", "predict")
    }
    return {place: {program: found[program][place] for program in found} for place in bundle.plans}


def _why_not(edge: Edge, places: Collection[str]) -> str:
    if edge.receiver not in places:
        return f"{edge.receiver} was not curious"
    if edge.aside:
        return "it says how another edge is packed"
    if by_row(edge):
        return "nothing that is attacked flows into it"
    return "its size depends on data" if None in edge.shape else "no attack is made for values of this form"
