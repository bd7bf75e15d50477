"""A trained run: its history, and its model applied to other rows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vflc_common.words import DEFAULT_ENGINE

from vflc.api import tables
from vflc.api.errors import told
from vflc.diagnostics.suggest import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from vflc_runtime.audit.report import Report
    from vflc_runtime.events import Listener
    from vflc_runtime.export.run import Exported
    from vflc_runtime.run.opened import OpenedRun
    from vflc_runtime.run.settings import OptionRules, TrainOptions

    from vflc.api.plot import Curves


def load(folder: str | Path) -> Run:
    """Opens a run that `fit`, `vflc train` or `vflc party` saved.

    Raises:
        vflc.Error: VFL0614 if there is no run, VFL0621 if its files are damaged.
    """
    with told():
        from vflc_runtime.run.opened import open_run

        return Run(open_run(folder))


_NUMBERS: Mapping[str, tuple[Any, str, Any]] = {
    "int | None": (Integral, "a whole number", int),
    "float | None": (Real, "a number", float),
}
"""Of an option's type what its values are, in words, and what makes Python's own of one."""


def fit(
    bundle: Path,
    data: Mapping[str, Any],
    out: str | Path | None,
    on_event: Listener | None,
    **options: Any,
) -> Run:
    """Trains a bundle; see `Model.fit`."""
    from vflc_runtime.events import silent
    from vflc_runtime.run.opened import open_run
    from vflc_runtime.run.settings import terms_of
    from vflc_runtime.run.train import train

    held = None
    if out is None:
        held = tempfile.TemporaryDirectory(prefix="vflc-run-")
        out = Path(held.name) / "run"
    path = Path(out)
    sources = tables.sources(data)
    with told():
        terms = terms_of(bundle)
        if held is not None and "ledger" in terms.options and options.get("ledger") is None:
            options["ledger"] = Path("runs") / "ledger"  # what rows have cost outlives a temporary run
        train(bundle, sources, path, _options(terms, options), on_event or silent)
        return Run(open_run(path), held)


def _options(terms: OptionRules, given: Mapping[str, Any]) -> TrainOptions:
    """The options by name; TypeError if this kind of model has none of that name, or a value is no number."""
    from vflc_runtime.run.settings import TrainOptions
    from vflc_runtime.run.transcript import RecordingLength

    if unknown := sorted(given.keys() - terms.options):
        chosen = ", ".join(sorted(terms.options - {"resume", "overwrite"}))
        raise TypeError(f"there is no option {unknown[0]!r} for this model; it has {chosen}")
    record, apart = given.get("record"), given.get("validation_data")
    read: dict[str, Any] = {
        "record": None if record is None else RecordingLength.of(record),
        "validation_data": None if apart is None else tables.sources(apart),
    }
    for name, value in given.items():
        read |= {name: _number(name, value)} if TrainOptions.__annotations__[name] in _NUMBERS else {}
    return TrainOptions(**{**given, **read})


def _number(name: str, value: object) -> int | float | None:
    """An option's value, also one of numpy; TypeError if it is no such number."""
    from vflc_runtime.run.settings import TrainOptions

    kind, words, make = _NUMBERS[TrainOptions.__annotations__[name]]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}: give {words}")
    made: int | float = make(value)
    return made


class Weights(dict[str, "np.ndarray[Any, Any]"]):
    """Arrays by name; a name that there is not is answered with the nearest."""

    def __missing__(self, name: str) -> np.ndarray[Any, Any]:
        near = did_you_mean(name, tuple(self))
        raise KeyError(f"there is no weight {name!r}" + (f"; did you mean {near!r}?" if near else ""))


class Run:
    """A trained run, from `fit` or `vflc.load`."""

    def __init__(self, opened: OpenedRun, held: tempfile.TemporaryDirectory[str] | None = None) -> None:
        self._opened, self._held = opened, held

    def __repr__(self) -> str:
        return f"<vflc run in {self.path}>"

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._opened.path

    @property
    def history(self) -> tables.Table:
        """A row for each epoch, or each measured round: loss and metrics, also of the validation rows."""
        with told():
            lines = [_flat(line) for line in self._opened.folder.history()]
        names = list(dict.fromkeys(name for line in lines for name in line))
        return tables.Table(names, [[line.get(name) for name in names] for line in lines])

    def plot(self) -> Curves:
        """Draws the curves of loss and metrics for a notebook; `.save("curves.svg")` writes them to a file.

        Raises:
            vflc.Error: VFL0503 if Matplotlib is not installed: `pip install 'vflc[notebook]'`.
        """
        from vflc.api.plot import curves

        with told():
            return curves(self.history)

    @property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds: results, steps, seconds, and bytes sent over each edge."""
        with told():
            return self._opened.metrics()

    @property
    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """The trained weights of all parties, by name: `weights["a.deep.kernel"]`."""
        with told():
            return Weights(self._opened.weights())

    def fit(self, data: Mapping[str, Any], *, on_event: Listener | None = None, **options: Any) -> Run:
        """Continues the run on the data that it was started with, as `vflc train --resume` does.

        Args:
            data: the same tables as before.
            on_event: called with each event.
            options: as in `Model.fit`; `epochs`, `steps` and `rounds` include those already done.

        Raises:
            vflc.Error: VFL0626 if the data differ, VFL0627 for an option that the run cannot change.
        """
        from vflc_runtime.events import silent

        with told():
            given = _options(self._opened.terms, options)
            self._opened.train(tables.sources(data), given, on_event or silent)
        return Run(self._opened, self._held)

    def evaluate(
        self, data: Mapping[str, Any], *, engine: str = DEFAULT_ENGINE, threads: int | None = None
    ) -> dict[str, Any]:
        """Measures the model on other rows: the loss and each metric, by name.

        Raises:
            vflc.Error: the data do not fit the model.
        """
        with told():
            found = self._opened.evaluate(tables.sources(data), engine, threads=threads)["evaluation"]
            assert isinstance(found, dict)
            return found

    def importance(
        self, data: Mapping[str, Any], *, repeats: int = 5, seed: int | None = None, metric: str | None = None
    ) -> tables.Table:
        """Says how much the model leans on each feature and each party: by permutation.

        Args:
            data: a table for each party, with labels. Of the tables that the run was trained on, the rows
                count that it kept for validation; of others, all rows.
            repeats: how often the values of each are exchanged among the rows.
            seed: of the exchanges. None means the run's.
            metric: the result that is compared. None means the one that the spec monitors.

        Returns:
            A row for each feature, then for each party, with `importance`, by how much the result is worse in
            the mean, and `deviation`, its spread over the repeats. The most important come first.

        Raises:
            vflc.Error: the data do not fit the model.
            KeyError: there is no such metric.
        """
        from vflc_runtime.run.importance import importance, ranked

        with told():
            found = importance(self.path, tables.sources(data), repeats, seed, metric=metric)
        return tables.Table(*ranked(found, metric or found["metric"]))

    def report(
        self,
        *others: Run,
        data: Mapping[str, Any] | None = None,
        audit: Audit | None = None,
        engine: str = DEFAULT_ENGINE,
        threads: int | None = None,
    ) -> RunReport:
        """Makes a page of what came of the run; `.save("report.html")` writes it, and a notebook shows it.

        Args:
            others: runs to show beside this one.
            data: a table for each party of other rows: the page then has the run's results on them, and how
                they differ from the training rows.
            audit: what attacks achieved, from `run.audit(data)`.
            engine: for `data`: see `evaluate`.
            threads: for `data`: see `evaluate`.

        Raises:
            vflc.Error: a run's files are damaged, or the data do not fit the model.
        """
        from vflc_runtime.scratch import scratch_folder

        from vflc.report.report import report

        runs = (self, *others)
        names = [run.path.name if run._held is None else "run" for run in runs]
        if len({*names}) < len(names):
            names = [f"{at}: {name}" for at, name in enumerate(names, 1)]
        rows = None if data is None else tables.sources(data)
        with told(), scratch_folder() as folder:
            audits = [] if audit is None else [audit.to_json(folder / "audit.json")]
            text = report([run.path for run in runs], (), audits, rows, names, engine=engine, threads=threads)
        return RunReport(text)

    def predict(
        self,
        data: Mapping[str, Any],
        *,
        engine: str = DEFAULT_ENGINE,
        threads: int | None = None,
        top: int | None = None,
    ) -> pa.Table:
        """Gives the key and a column for each prediction, in the units of the table, in order of the keys.

        Args:
            data: a table for each party; labels are not needed.
            engine: `onnx`, `keras`, or `cuda`, which is `onnx` on a GPU.
            threads: how many threads an operator may use. None means one for each core.
            top: for a population: recommend this many items to each user instead.

        Returns:
            An Arrow table; `.to_pandas()` converts it if pandas is installed.

        Raises:
            vflc.Error: the data do not fit the model.
        """
        from pyarrow import parquet
        from vflc_runtime.scratch import scratch_folder

        with told(), scratch_folder() as folder:
            out = folder / "predictions.parquet"
            self._opened.predict(tables.sources(data), out, engine, threads=threads, top=top)
            return parquet.read_table(out)

    def export(
        self,
        out: str | Path,
        *,
        format: str = "onnx",
        merged: bool = False,
        data: Mapping[str, Any] | None = None,
    ) -> Exported:
        """Writes inference models, as `vflc export` does. Each is loaded again and compared.

        Args:
            out: a folder that does not exist or is empty.
            format: `onnx` or `keras`.
            merged: write one model of all parties instead of one for each party.
            data: the rows to compare on. None means generated rows.
        """
        from vflc_runtime.export.run import export

        with told():
            return export(self.path, out, format, merged, None if data is None else tables.sources(data))

    def audit(
        self,
        data: Mapping[str, Any],
        *,
        party: str | tuple[str, ...] = (),
        validation_data: Mapping[str, Any] | None = None,
    ) -> Audit:
        """Attacks the run as each of its parties could, with what that party received: see docs/audit.md.

        Args:
            data: the tables that the run was trained on. They are the truth that attacks are judged by.
            party: the parties that attack; all if none is named.
            validation_data: the tables that the run validated with, if it had such.

        A run that was trained with `record` is attacked as it was. Another one is trained again for the
        audit, with the same settings, for at most 3 epochs or 600 steps.

        Raises:
            vflc.Error: the data are not those of the run, or nothing crosses in it (VFL0680).
        """
        from vflc_runtime.audit.again import settings_of, trained_again
        from vflc_runtime.audit.run import AuditOptions, audit
        from vflc_runtime.run.transcript import recorded

        with told(), ExitStack() as held:
            sources, transcripts = tables.sources(data), self.path
            apart = None if validation_data is None else tables.sources(validation_data)
            if not recorded(self.path):
                settings = settings_of(self.path) | {"validation_data": apart}
                transcripts = held.enter_context(trained_again(self.path / "bundle", sources, **settings))
            options = AuditOptions((party,) if isinstance(party, str) else party, apart=apart)
            return Audit(audit(self.path, sources, options, transcripts))


class Audit:
    """What attacks achieved, next to what is proven.

    Attributes:
        report: the full report: scores, verdicts, edges that no attack looks at, and tested bounds.
    """

    def __init__(self, report: Report) -> None:
        self.report = report

    @property
    def scores(self) -> tables.Table:
        """A row for each attack, the worst first."""
        names = ("party", "secret", "channel", "attack", "measure", "score", "level", "bound")
        rows = [[getattr(score, name) for name in names] for score in self.report.scores]
        return tables.Table(names, rows)

    def to_json(self, file: str | Path) -> Path:
        """Writes all of it for programs, and for `vflc report --audit`, as `vflc audit --json` does."""
        from vflc_runtime.files import replace_with

        with told():
            text = json.dumps(self.report.data(), indent=2, ensure_ascii=False)
            replace_with(Path(file), (text + "\n").encode())
        return Path(file)

    def to_html(self, file: str | Path) -> Path:
        """Writes a page for people, as `vflc audit --html` does."""
        from vflc_runtime.audit.html import page
        from vflc_runtime.files import replace_with

        with told():
            replace_with(Path(file), page(self.report).encode())
        return Path(file)


class RunReport:
    """A page about runs, from `Run.report`.

    Attributes:
        html: the document. It loads nothing from anywhere.
    """

    def __init__(self, html: str) -> None:
        self.html = html

    def __repr__(self) -> str:
        return '<report on runs: shown in a notebook; .save("report.html") writes it>'

    def _repr_html_(self) -> str:
        from html import escape

        style = "width: 100%; height: 40rem; border: 0"
        return f'<iframe sandbox srcdoc="{escape(self.html)}" style="{style}"></iframe>'

    def save(self, file: str | Path) -> Path:
        """Writes the page to a file."""
        from vflc_runtime.files import replace_with

        with told():
            replace_with(Path(file), self.html.encode())
        return Path(file)


def _flat(line: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """`{"train": {"loss": 1}}` as `{"train.loss": 1}`."""
    flat: dict[str, Any] = {}
    for name, value in line.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value}
    return flat
