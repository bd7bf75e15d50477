"""Evaluation and prediction at one place, in step with the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vflc_runtime.bundle.plugins import find_engine
from vflc_runtime.data.batches import EVALUATION_BATCH, in_order
from vflc_runtime.data.dataset import Agree, Dataset
from vflc_runtime.data.output import check_out, write_table
from vflc_runtime.errors import Failure
from vflc_runtime.party.agreement import agree_rows, compare
from vflc_runtime.party.coordinator import PartyCoordinator
from vflc_runtime.party.joined import Joined
from vflc_runtime.party.keys import exchange_keys
from vflc_runtime.party.peers import Peers
from vflc_runtime.party.rows import PlaceRows
from vflc_runtime.party.site import Site, take_part
from vflc_runtime.protect import record
from vflc_runtime.run import loading
from vflc_runtime.run.importance import of_session
from vflc_runtime.run.session import Session
from vflc_runtime.run.settings import version
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.trained import charge, measured, predicted
from vflc_runtime.transport.network import Ended


def evaluate_party(run: Path | str, site: Site, details: bool = False) -> dict[str, Any]:
    """Loss and metrics of the trained model on rows of all parties, as far as this one may know them.

    With `details`, `curves` of its labels and `drift` of its columns come along: see `insight`.

    Returns:
        `rows`, `model` (which it is), `evaluation` (empty at a place without labels), `bytes_sent` by
        edge, `data` and `peers`.
    """
    trained = _Trained(RunFolder(Path(run)), site, "evaluate")

    def once(peers: Peers, rows: PlaceRows) -> dict[str, Any]:
        session, data, model = trained.begin(peers, rows)
        found = measured(session, data, trained.run.path if details else None)
        trained.end(peers)
        return {"rows": data.rows, "model": model, **found, "data": data.report}

    found, spent = take_part(site, trained.bundle, EVALUATION_BATCH, once)
    return {**found, "peers": spent}


def importance_party(run: Path | str, site: Site, repeats: int, seed: int | None) -> dict[str, Any]:
    """How much the model leans on each feature and party, on all rows: see `importance.of_session`.

    Every party exchanges the values of its own features. Results are known where the labels are.
    """
    trained = _Trained(RunFolder(Path(run)), site, "evaluate")
    drawn = int(trained.run.settings["seed"] if seed is None else seed)

    def once(peers: Peers, rows: PlaceRows) -> dict[str, Any]:
        session, data, model = trained.begin(
            peers, rows, {"repeats": repeats, "exchanges": drawn}, charged=False
        )
        found = of_session(
            session, data, np.arange(data.rows), repeats, drawn, lambda: trained.spend(session, data)
        )
        trained.end(peers)
        return {"model": model, "validation": False, **found}

    found, spent = take_part(site, trained.bundle, EVALUATION_BATCH, once)
    return {**found, "peers": spent}


def predict_party(run: Path | str, site: Site, out_file: Path | str | None) -> dict[str, Any]:
    """Computes predictions with the others; the place that has them writes them to `out_file`.

    Returns:
        `rows`, how many, and `model` (which it is).

    Raises:
        Failure: VFL0612 where this place has predictions and no file for them, or the other way.
    """
    trained = _Trained(RunFolder(Path(run)), site, "predict")
    has = any(plan.reports["predict"].predictions for plan in trained.bundle.plans.values())
    if has != (out_file is not None):
        why = "makes predictions: name a file with --predictions" if has else "gets no predictions"
        raise Failure("VFL0612", f"{site.place} {why}", None if has else "remove --predictions")
    path = None if out_file is None else check_out(Path(out_file))

    def once(peers: Peers, rows: PlaceRows) -> dict[str, Any]:
        session, data, model = trained.begin(peers, rows)
        if path is None:
            for part in in_order(data.rows):
                session.predict(data.batch(part), len(part))
        else:
            write_table(path, predicted(session, data, path.suffix))
        trained.end(peers)
        return {"rows": data.rows, "model": model}

    return take_part(site, trained.bundle, EVALUATION_BATCH, once)[0]


class _Trained:
    """A trained run of this place and what it is applied to."""

    def __init__(self, run: RunFolder, site: Site, program: str) -> None:
        self.run, self.site, self.program = run, site, program
        if run.places != (site.place,):
            raise Failure("VFL0636", f"{run.path} is not a run of {site.place}", "name this party's run")
        self.bundle = run.bundle(site.engine)
        loading.look(self.bundle, site.sources(self.bundle), program == "evaluate")

    def begin(
        self,
        peers: Peers,
        rows: PlaceRows,
        more: Mapping[str, Any] | None = None,
        charged: bool = True,
    ) -> tuple[Session, Dataset, str]:
        """All agree on the rows and on the state of the run whose model is taken: the best where kept.

        `more` is compared, too; a pass over the rows is `charged`, or each will be by itself.

        Returns the model's epoch in words, too.
        """
        terms = {"program": self.program, "version": version(), "digest": self.bundle.manifest.digest}
        terms |= more or {}
        compare(peers, terms, find_engine(self.site.engine).reads, self.bundle.keras)
        own = rows.load(self._load)
        states = self.run.states(self.bundle, self.site.listen)
        count, name, _ = agree_rows(peers, own, states, may_start=False)
        session = Session(
            self.bundle, self.site.engine, self.run.settings["seed"], self.site.threads, (self.program,),
            transport=Joined(peers.network),
        )  # fmt: skip
        exchange_keys(peers, session)
        models, which = self.run.model_of(self.bundle, states[name])
        for place, weights in models.items():
            session.engines[place].load(weights)
        record.apply(self.run.path, session.guards(), self.program)
        data = rows.all(count)
        if charged:
            self.spend(session, data)
        return session, data, which

    def spend(self, session: Session, data: Dataset) -> None:
        """Charges a pass over the rows to the ledger of this place."""
        charge(session, self.run, self.program, data)

    def end(self, peers: Peers) -> None:
        """Waits until all have what they need."""
        try:
            PartyCoordinator(peers, "", self.program).leave()
        except (Ended, Failure):
            return  # whoever is gone by now has all it needs

    def _load(self, agree: Agree | None) -> Dataset:
        sources, fitted = self.site.sources(self.bundle), self.run.fitted(self.bundle)
        labels = self.program == "evaluate"
        return loading.load_trained(self.bundle, sources, fitted, labels, self.site.listen, agree)
