"""A compiled model: what crosses, who may learn what, and its training."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vflc_common.words import BACKENDS, DEFAULT_BACKEND, PRECISIONS

from vflc import driver
from vflc.api import tables
from vflc.api.errors import told
from vflc.api.run import Run, fit
from vflc.diagnostics import Diagnostic, SourceText
from vflc.syntax.parser import read_source

if TYPE_CHECKING:
    from vflc_runtime.events import Listener

    from vflc.emit.bundle import Bundle


def compile(
    spec: str | Path,
    *,
    precision: str = "float32",
    backends: tuple[str, ...] = (DEFAULT_BACKEND,),
    name: str = "model",
    overrides: Mapping[str, object] | None = None,
) -> Model:
    """Compiles a spec.

    Args:
        spec: the path of a `.vfl` file, or the text of a spec. A string with a line break or a brace is text.
        precision: `float32` or `float64`.
        backends: what to write: `onnx`, and `keras` to train with TensorFlow.
        name: the model's name if the spec is text.
        overrides: other values for top-level bindings, and for settings of `train`, by name: numbers, `True`
            and `False`, and text in the spec's language, as `{"LR": 0.01, "optimizer": "sgd(lr = LR)"}`.

    Raises:
        vflc.Error: the spec has mistakes; all of them are in `diagnostics`.
        ValueError: there is no such precision, or no such backend.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if unknown := [each for each in backends if each not in BACKENDS]:
        raise ValueError(f"backend {unknown[0]!r} is not one of {', '.join(BACKENDS)}")
    with told():
        if isinstance(spec, str) and ("\n" in spec or "{" in spec):
            source, folder = SourceText(f"{name}.vfl", spec), None
        else:
            source, folder = read_source(Path(spec)), Path(spec).parent
        values = {each: _written(value) for each, value in (overrides or {}).items()}
        return Model(
            driver.compile_source(source, folder, precision=precision, backends=backends, overrides=values)
        )


def _written(value: object) -> str:
    """A value in the spec's language."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class Picture(str):
    """The text of a picture. Notebooks draw SVG, and Mermaid text, under a cell."""

    language: str

    def __new__(cls, text: str, format: str) -> Picture:
        made = super().__new__(cls, text)
        made.language = format
        return made

    def _repr_svg_(self) -> str | None:
        return str(self) if self.language == "svg" else None

    def _repr_markdown_(self) -> str | None:
        return None if self.language == "svg" else f"```{self.language}\n{self}\n```"


class Model:
    """A compiled model, from `vflc.compile`. Nothing is on disk until it is saved or trained."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def __repr__(self) -> str:
        return f"<vflc model {self.name}: {', '.join(self.parties)}; digest {self.digest[:16]}>"

    @property
    def name(self) -> str:
        """The model's name: the name of the file."""
        return str(self._bundle.manifest["model"])

    @property
    def parties(self) -> list[str]:
        """The parties whose tables it reads."""
        return [str(party["name"]) for party in self._bundle.manifest["parties"]]

    @property
    def digest(self) -> str:
        """What parties compare: equal digests mean equal programs."""
        return str(self._bundle.manifest["digest"])

    @property
    def manifest(self) -> dict[str, Any]:
        """Everything in `manifest.json`."""
        return self._bundle.manifest

    @property
    def findings(self) -> list[Diagnostic]:
        """The warnings; `vflc.compile` raises mistakes."""
        return list(self._bundle.warnings)

    @property
    def crossing(self) -> tables.Table:
        """A row for each value that crosses between parties: its shape, its bytes and what it depends on."""
        from vflc.emit.manifest.diagram import shape

        names = ("id", "from", "to", "phase", "bytes_per_row", "depends_on")
        rows = [[*(edge[name] for name in names), shape(edge)] for edge in self.manifest["edges"]]
        return tables.Table((*names, "shape"), rows)

    @property
    def learned(self) -> tables.Table:
        """Who may learn what, at most: a row for each receiver and each column of other parties."""
        from vflc.emit.manifest.learned import at_most

        names = ("receiver", "party", "column")
        found = self.manifest["learned"]
        rows = [[*(row[name] for name in names), at_most(row["bound"])] for row in found]
        return tables.Table((*names, "at most"), rows)

    def graph(self, format: str = "mermaid", folded: Iterable[str] | None = None) -> Picture:
        """Who computes what, what crosses and what it tells, as `mermaid`, `dot`, `svg` or `html` text.

        A notebook draws Mermaid text and SVG.

        Args:
            format: of the text.
            folded: names of blocks that are one box each, as `["logit.deep"]`; by default as many as it takes
                for 24 boxes.
        """
        from vflc.picture.files import FORMATS
        from vflc.picture.of_model import sketch_model

        if format not in FORMATS:
            raise ValueError(f"format {format!r} is not one of {', '.join(FORMATS)}")
        drawn = sketch_model(self._bundle.model)
        return Picture(FORMATS[format](drawn, None if folded is None else frozenset(folded)), format)

    def save(self, folder: str | Path) -> Path:
        """Writes the bundle, as `vflc compile` does, and returns the folder."""
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
            data: a table for each party: a pandas or polars frame, an Arrow table, a path, a glob or a query.
            out: the run's folder. None means a temporary folder, which is deleted with the `Run`.
            overwrite: replace a run that is in `out`.
            on_event: called with each event of `vflc_runtime.events`, such as the end of an epoch.
            options: for parties, `epochs`, `batch`, `steps`, `validation`, `fold`, `validation_data` (a table
                for each party), `seed`, `engine`, `threads`, `checkpoint_steps`, `record`, `ledger`, `start`;
                for populations, `rounds`, `cohort`, `batch`, `seed`, `evaluate_every`, `checkpoint_rounds`,
                `engine`, `on`, `workers`.
                Options that are not given are as the spec says.

        Raises:
            vflc.Error: data or options are wrong, or training diverged.
            TypeError: there is no such option, or a value or a table is not of a known kind.
            KeyboardInterrupt: Ctrl-C was pressed; a checkpoint was written.
        """
        with self._written() as bundle:
            return fit(bundle, data, out, on_event, overwrite=overwrite, **options)

    def cross_validate(
        self, data: Mapping[str, Any], *, folds: int = 5, on_event: Listener | None = None, **options: Any
    ) -> tables.Table:
        """Trains on all parts of the aligned rows except one and measures on that one, for each part in turn.

        Args:
            data: a table for each party, as in `fit`.
            folds: the number of parts, all of one size; the seed decides which row is in which part.
            on_event: called with each event.
            options: as in `fit`, except `validation`, `validation_data` and `fold`.

        Returns:
            A row for each fold with its loss and metrics, then their mean and standard deviation. Nothing
            else of the runs is kept. Each of them costs as much ε as any run.

        Raises:
            vflc.Error: as in `fit`, and if there are fewer rows than folds.
            TypeError: there is no such option, or a value is not of a known kind; a population has no folds.
            ValueError: `folds` is less than 2.
        """
        if not isinstance(folds, int):
            raise TypeError(f"folds is {folds!r}: give a whole number")
        if folds < 2:
            raise ValueError(f"folds is {folds}: give at least 2")
        if "out" in options:
            raise TypeError("the runs of folds are not kept: remove `out`")
        if chosen := sorted({"validation", "fold", "validation_data"} & options.keys()):
            raise TypeError(f"each part of the rows is validated with in turn: remove `{chosen[0]}`")
        options |= {"validation": 1 / folds, "on_event": on_event}
        found = [self.fit(data, fold=fold, **options).metrics["validation"] for fold in range(folds)]
        return tables.Table(("fold", *found[0]), _folds(found))

    @contextmanager
    def _written(self) -> Iterator[Path]:
        from vflc_runtime.scratch import scratch_folder

        with scratch_folder() as folder:
            yield self.save(folder / "bundle")


def _folds(found: list[dict[str, float | None]]) -> list[list[Any]]:
    """A row for each fold, counted from 1; then the mean and standard deviation of what all folds have."""
    from vflc_runtime.run.folds import over

    rows: list[list[Any]] = [[number, *scores.values()] for number, scores in enumerate(found, 1)]
    for name, of in (("mean", statistics.fmean), ("deviation", statistics.stdev)):
        rows.append([name, *over(found, of).values()])
    return rows
