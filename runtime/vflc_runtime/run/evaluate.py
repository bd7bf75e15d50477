"""How good a trained model is on other rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime.data.source import TableSource
from vflc_runtime.events import Listener, silent
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.trained import trained_model


def evaluate(
    run: Path | str,
    sources: Mapping[str, TableSource],
    engine: str = DEFAULT_ENGINE,
    threads: int | None = None,
    listen: Listener = silent,
    details: bool = False,
) -> dict[str, Any]:
    """Loss and metrics of the model in `run` on each party's source, or on users that it has not seen.

    Args:
        run: the run's folder.
        sources: of each party its source.
        engine: of those that there are, by name.
        threads: threads an operator may use, a core each where None; a population has no use for it.
        listen: is told when the data is loaded.
        details: adds `curves` and `drift` for `vflc report`: see `insight`. A population has neither.

    Returns:
        `rows`, `model` (which it is), `evaluation` (loss and each metric by name), `bytes_sent` by edge id,
        and `data`, the report of rows dropped and values unknown. Of a population also how many `users`, and
        `too_few_examples`, those who counted for nothing.

    Raises:
        Failure: VFL0601 to 0607 and 0610 to 0618 as data and run give cause.
        TypeError: an option is given that has no use here.
    """
    folder = RunFolder(Path(run))
    model = trained_model(folder, "evaluate", engine, listen, threads=threads)
    model.load(sources, listen)
    data = model.data
    return {"rows": data.rows, "model": folder.which(), **model.measured(details), "data": data.report}
