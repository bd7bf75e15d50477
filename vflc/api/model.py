"""A compiled model: what crosses, who may learn what, and its training."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vflc import driver
from vflc.api import tables
from vflc.api.errors import told
from vflc.api.run import Listener, Run, fit
from vflc.diagnostics import Diagnostic, Source
from vflc.syntax.parser import read_source

if TYPE_CHECKING:
    from vflc.emit.bundle import Bundle


def compile(
    spec: str | Path,
    *,
    precision: str = "float32",
    backends: tuple[str, ...] = ("onnx",),
    name: str = "model",
) -> Model:
    """Compiles a spec.

    Args:
        spec: the path of a `.vfl` file, or the text itself: what has a line break or a brace is text.
        precision: `float32` or `float64`.
        backends: what to emit: `onnx`, and `keras` to train with TensorFlow.
        name: what the model is called where the spec is text.

    Raises:
        vflc.Error: the spec has mistakes; every one of them is in `diagnostics`.
    """
    with told():
        if isinstance(spec, str) and ("\n" in spec or "{" in spec):
            source, folder = Source(f"{name}.vfl", spec), None
        else:
            source, folder = read_source(Path(spec)), Path(spec).parent
        return Model(driver.compile_source(source, folder, precision=precision, backends=backends))


class Picture(str):
    """The text of a diagram. JupyterLab and VS Code draw Mermaid's under a cell."""

    language: str

    def __new__(cls, text: str, format: str) -> Picture:
        made = super().__new__(cls, text)
        made.language = format
        return made

    def _repr_markdown_(self) -> str:
        return f"```{self.language}\n{self}\n```"


class Model:
    """What `vflc.compile` gives. Nothing is on disk before it is saved or trained."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def __repr__(self) -> str:
        return f"<vflc model {self.name}: {', '.join(self.parties)}; digest {self.digest[:16]}>"

    @property
    def name(self) -> str:
        """What the model is called: the file's name."""
        return str(self._bundle.manifest["model"])

    @property
    def parties(self) -> list[str]:
        """Whose tables it reads."""
        return [str(party["name"]) for party in self._bundle.manifest["parties"]]

    @property
    def digest(self) -> str:
        """What parties compare: equal digests are equal programs."""
        return str(self._bundle.manifest["digest"])

    @property
    def manifest(self) -> dict[str, Any]:
        """All that `manifest.json` holds."""
        return self._bundle.manifest

    @property
    def findings(self) -> list[Diagnostic]:
        """Warnings; mistakes are raised by `vflc.compile`."""
        return list(self._bundle.warnings)

    @property
    def crossing(self) -> tables.Table:
        """A row for each value that crosses between parties: its shape, bytes, and what it depends on."""
        from vflc.emit.manifest.diagram import shape

        names = ("id", "from", "to", "phase", "bytes_per_row", "depends_on")
        rows = [[*(edge[name] for name in names), shape(edge)] for edge in self.manifest["edges"]]
        return tables.Table((*names, "shape"), rows)

    @property
    def learned(self) -> tables.Table:
        """Who may learn what at most: a row for each receiver and column of others."""
        from vflc.emit.manifest.learned import at_most

        names = ("receiver", "party", "column")
        found = self.manifest["learned"]
        rows = [[*(row[name] for name in names), at_most(row["bound"])] for row in found]
        return tables.Table((*names, "at most"), rows)

    def graph(self, format: str = "mermaid") -> Picture:
        """Who computes what and what crosses, as `mermaid` or `dot` text; a notebook draws Mermaid's."""
        from vflc.emit.manifest.diagram import FORMATS

        if format not in FORMATS:
            raise ValueError(f"format {format!r} is not one of {', '.join(FORMATS)}")
        return Picture(FORMATS[format](self.manifest), format)

    def save(self, folder: str | Path) -> Path:
        """Writes the bundle, as `vflc compile` does; returns the folder."""
        self._bundle.write(Path(folder))
        return Path(folder)

    def fit(
        self,
        data: Mapping[str, Any],
        *,
        out: str | Path | None = None,
        overwrite: bool = False,
        on_event: Listener | None = None,
        **options: Any,
    ) -> Run:
        """Trains on a table for each party, all of them in this process.

        Args:
            data: by party: a pandas or polars frame, an Arrow table, a path, a glob or a query.
            out: the run's folder; a temporary one, gone with the `Run`, where None.
            overwrite: a run that is in `out` gives way.
            on_event: is told what happens, as `vflc_runtime.events` has it: an epoch that ended, …
            options: of parties `epochs`, `batch`, `steps`, `validation`, `fold`, `seed`, `engine`, `threads`,
                `checkpoint_steps`, `record`, `ledger`; of populations `rounds`, `cohort`, `batch`, `seed`,
                `evaluate_every`, `checkpoint_rounds`, `engine`, `on`, `workers`. What is not given is as
                the spec says.

        Raises:
            vflc.Error: data or options are not as they must be, or training diverged.
            TypeError: there is no such option, or a table is none.
            KeyboardInterrupt: Ctrl-C; a checkpoint was written.
        """
        with self._written() as bundle:
            return fit(bundle, data, out, on_event, overwrite=overwrite, **options)

    def cross_validate(
        self, data: Mapping[str, Any], *, folds: int = 5, on_event: Listener | None = None, **options: Any
    ) -> tables.Table:
        """Trains on all parts of the aligned rows but one and measures on that one, each in turn.

        Args:
            data: a table for each party, as of `fit`.
            folds: how many parts of one size; the seed says which row is in which.
            on_event: is told what happens.
            options: as of `fit`, but for `validation` and `fold`.

        Returns:
            A row for each fold with its loss and metrics, then their mean and standard deviation. Nothing
            else is kept of the runs. Within ε each of them costs as much as any run.

        Raises:
            vflc.Error: as `fit`, and where there are fewer rows than folds.
            TypeError: there is no such option; a population has none of these.
        """
        if folds < 2:
            raise ValueError(f"folds is {folds}: give at least 2")
        if "out" in options:
            raise TypeError("the runs of folds are not kept: remove `out`")
        options |= {"validation": 1 / folds, "on_event": on_event}
        found = [self.fit(data, fold=fold, **options).metrics["validation"] for fold in range(folds)]
        return tables.Table(("fold", *found[0]), _folds(found))

    @contextmanager
    def _written(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="vflc-") as folder:
            yield self.save(Path(folder) / "bundle")


def _folds(found: list[dict[str, float | None]]) -> list[list[Any]]:
    """A row for each fold, from 1; then mean and standard deviation of what all of them have."""
    rows: list[list[Any]] = [[number, *scores.values()] for number, scores in enumerate(found, 1)]
    columns = [[scores[name] for scores in found] for name in found[0]]
    whole = [[score for score in column if score is not None] for column in columns]
    for name, of in (("mean", statistics.fmean), ("deviation", statistics.stdev)):
        rows.append([name, *(of(c) if len(c) == len(found) else None for c in whole)])
    return rows
