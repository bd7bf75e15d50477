"""From folders of runs to their page: for the command line and for Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from vflc_runtime.data.source import TableSource
from vflc_runtime.events import Listener, silent
from vflc_runtime.run.opened import open_run

from vflc.report.page import page
from vflc.report.shapes import EvaluationDetails
from vflc.report.shown import ShownRun, check_evaluation, matching, shown


def report(
    runs: Sequence[Path],
    evaluations: Sequence[Path] = (),
    audits: Sequence[Path] = (),
    others: Mapping[str, TableSource] | None = None,
    names: Sequence[str] | None = None,
    listen: Listener = silent,
    **options: Any,
) -> str:
    """The page of runs.

    Args:
        runs: their folders.
        evaluations: files of `vflc evaluate --details`, of any of the runs.
        audits: files of `vflc audit --json`, of any of the runs.
        others: of each party other rows, on which the first run is evaluated.
        names: what the page calls the runs; by default their folders.
        listen: is told when the other rows are loaded.
        options: of the evaluation: `engine` and `threads`.

    Raises:
        Failure: VFL0805, a file is not what it should be; what `evaluate` raises; what is wrong with a run.
    """
    found = [shown(path, name) for path, name in zip(runs, names or map(str, runs), strict=True)]
    if others:
        found[0] = _evaluated(found[0], runs[0], others, listen, options)
    return page(matching(found, list(evaluations), list(audits)))


def _evaluated(
    run: ShownRun, path: Path, others: Mapping[str, TableSource], listen: Listener, options: Mapping[str, Any]
) -> ShownRun:
    found = open_run(path).evaluate(others, listen=listen, details=True, **options)
    details = msgspec.convert({"digest": run.manifest.digest, **found}, EvaluationDetails)
    return msgspec.structs.replace(run, evaluation=check_evaluation(details, path))
