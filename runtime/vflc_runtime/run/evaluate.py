"""How good a trained model is on other rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.source import Source
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.protect import record, spending
from vflc_runtime.run import loading
from vflc_runtime.run.loop import measure
from vflc_runtime.run.session import Session
from vflc_runtime.run.state import RunFolder
from vflc_runtime.transport.messages import Envelope


def trained(
    run: RunFolder,
    program: str,
    engine: str,
    threads: int | None,
    hear: Callable[[Envelope], None] | None = None,
    listen: Listener = silent,
) -> Session:
    """A session with the run's weights that runs one program; VFL0629 where there are none.

    `hear` is told of every message, `listen` where something else than the run's models is taken.
    """
    if run.places is not None:
        raise Failure(
            "VFL0636",
            f"{run.path} has only the part of {', '.join(run.places)}",
            f"run it at all parties: `vflc party NAME RUN --deploy deploy.toml --do {program}`",
        )
    bundle = run.bundle(engine)
    session = Session(bundle, engine, run.settings["seed"], threads, (program,), hear)
    for place, weights in run.models(bundle, listen).items():
        session.engines[place].load(weights)
    record.apply(run.path, session.guards(), program)
    return session


def pass_over(session: Session, run: RunFolder, program: str, data: Dataset) -> None:
    """Charges a pass over rows to the ledgers of the parties here; see `spending.go_over`."""
    bundle = session.bundle
    spending.go_over(run.settings, bundle.manifest, tuple(bundle.parties), program, data.keys)


def evaluate(
    run: Path | str,
    sources: Mapping[str, Source],
    engine: str = "onnx",
    threads: int | None = None,
    listen: Listener = silent,
) -> dict[str, Any]:
    """Loss and metrics of the model in `run` on each party's source.

    Returns:
        `rows`, `model` (which it is),
        `evaluation` (loss and each metric by name), `bytes_sent` by edge id, and `data`,
        the report of rows dropped and values unknown.

    Raises:
        Failure: VFL0601 to 0607 and 0610 to 0618 as data and run give cause.
    """
    folder = RunFolder(Path(run))
    session = trained(folder, "evaluate", engine, threads, listen=listen)
    data = loading.load_trained(session.bundle, sources, folder.fitted(session.bundle), True, listen)
    pass_over(session, folder, "evaluate", data)
    scores = measure(session, data, np.arange(data.rows)).results(by_class=True)
    return {
        "rows": data.rows,
        "model": folder.which(),
        "evaluation": scores,
        "bytes_sent": session.sent(),
        "data": data.report,
    }
