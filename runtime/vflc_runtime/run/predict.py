"""Predictions by key, from raw columns to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime.data.output import check_out, write_table
from vflc_runtime.data.source import TableSource
from vflc_runtime.events import Listener, silent
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.trained import trained_model


def predict(
    run: Path | str,
    sources: Mapping[str, TableSource],
    out_file: Path | str,
    engine: str = DEFAULT_ENGINE,
    threads: int | None = None,
    top: int | None = None,
    listen: Listener = silent,
) -> int:
    """Writes the predictions of the model in `run` for each party's source, in order of the keys.

    The file has the key and the columns of each prediction, see `titled`, in the units of the table.
    It is there whole or not at all. Labels are not needed. Users of a population are rebuilt from the rows
    that have a label; those that have none are predicted, with ids beside the key where they can be told.

    Args:
        run: the run's folder.
        sources: of each party its source.
        out_file: a `.csv` or a `.parquet` file.
        engine: of those that there are, by name.
        threads: threads an operator may use, a core each where None; a population has no use for it.
        top: of a population, recommend so many items to each user instead: see `NewUsers`.
        listen: is told when the data is loaded.

    Returns:
        The number of rows.

    Raises:
        Failure: VFL0601 to 0607 and 0610 to 0618 as data and run give cause; VFL0502 where nothing can be
            ranked, VFL0608 where nothing is left to predict.
        TypeError: an option is given that has no use here.
    """
    out_file = check_out(Path(out_file))
    model = trained_model(RunFolder(Path(run)), "predict", engine, listen, threads=threads, top=top)
    model.load(sources, listen)
    return write_table(out_file, model.predicted(out_file.suffix))
