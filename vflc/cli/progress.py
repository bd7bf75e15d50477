"""Shows a run as it goes: a bar on a terminal, plain lines elsewhere, one line of results an epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from vflc_runtime import events

from vflc.cli import failures
from vflc.cli.columns import broken
from vflc.cli.tables import alignment, columns, console, number, show, unknown_values
from vflc.diagnostics import Diagnostic

ROUNDS_QUIET = 5.0
"""Seconds between two lines about rounds."""
QUIET = 15.0
"""Seconds between two plain lines within an epoch."""

_AWAITED = {
    "control 'align.hello'": "a message that it has read its table (align.hello)",
    "control 'ready'": "a message that its data and model are ready (ready)",
    "control 'saved'": "a message that it has saved a checkpoint (saved)",
    "control 'done'": "a message that it has finished (done)",
}


_HARD = "\u00a0"
"""A blank at which no line ends: within a name, or before its number."""


class Screen:
    """Listens to a run. Use it as a context, so that the bar is gone when the run ends.

    `aside`: it shows on stderr what happens, since stdout is for JSON.
    """

    def __init__(self, aside: bool = False) -> None:
        self.console = console(aside)
        self._columns: list[tuple[str, str, int]] = []
        self._headed = False
        self._narrow = False
        self._undefined_before: set[str] = set()
        self._said = time.monotonic()
        self._epochs = 0
        self._rounds: Any = None
        self._bar = Bar(
            TextColumn("{task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.file.isatty(),
        )
        self._task = self._bar.add_task("", visible=False, epoch="", now="")

    def __enter__(self) -> Screen:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.Loaded():
                loaded(self.console, event)
                self._headed = False  # a fold's results stand below its own names
            case events.Aligning():
                self._aligning(event)
            case events.Warned():
                warned(event)
            case events.Waiting():
                self._waiting(event)
            case events.Resumed():
                self.console.print(f"continues after step {event.step:,}, in epoch {event.epoch}")
            case events.TablesFitted():
                for line in fitted(event, columns()):
                    self._print(line)
            case events.StartedFrom():
                self._print("\n".join(started(event, columns())))
            case events.Undefined():
                self._undefined(event)
            case events.FellBack():
                loaded(self.console, event)
            case events.BeganAgain():
                self.console.print(
                    f"{event.peer} restarted: back to the last checkpoint that all parties have"
                )
            case events.EpochStarted():
                self._epochs = event.epochs
                epoch = f"{event.epoch}/{event.epochs}"
                self._bar.reset(self._task, total=event.steps, visible=True, epoch=epoch, now="")
            case events.Progress():
                self._progress(event)
            case events.EpochEnded():
                self._bar.update(self._task, visible=False)
                self._line(event)
            case events.RoundEnded():
                self._round(event)
            case events.Done():
                self._bar.update(self._task, visible=False)

    def _aligning(self, event: events.Aligning) -> None:
        unfinished = event.done < event.total
        self._bar.update(
            self._task, completed=event.done, total=event.total, visible=unfinished, epoch="alignment",
            now=event.what,
        )  # fmt: skip
        if self._bar.disable and time.monotonic() - self._said > QUIET:
            self._said = time.monotonic()
            self._print(f"alignment: {event.what}, {event.done:,}/{event.total:,}")

    def _waiting(self, event: events.Waiting) -> None:
        what = _AWAITED.get(event.kind, event.kind)
        so_far = f"after {event.seconds:,.0f} s, for at most {event.limit:,.0f} s"
        self._print(f"still waiting for {event.peer} {so_far}: {what}")

    def _undefined(self, event: events.Undefined) -> None:
        """Once: the same holds for the epochs that follow, as a rule."""
        if event.name in self._undefined_before:
            return
        self._undefined_before.add(event.name)
        rows = "more validation rows, --validation FRACTION," if event.validation else "more rows"
        self._print(
            f"{event.name} is undefined in epoch {event.epoch}: such epochs cannot be the best one.\n"
            f"It needs {rows} with labels of each class; or use another metric: `monitor loss`"
        )

    def _progress(self, event: events.Progress) -> None:
        loss = "" if event.loss is None else f"loss {number(event.loss)}  "
        rate = f"{event.rows_per_second:,.0f}"
        self._bar.update(self._task, completed=event.done, now=f"{loss}{rate}")
        now = time.monotonic()
        if self._bar.disable and now - self._said > QUIET:
            self._said = now
            where = f"epoch {event.epoch}/{self._epochs}  step {event.done:,}/{event.steps:,}"
            self._print(f"{where}  {loss}{rate} rows/s")

    def _round(self, event: events.RoundEnded) -> None:
        """The bar; a line where users were validated, at the end, and now and then."""
        loss = number(event.train.get("loss"))
        rate, done = f"{event.users_per_second:,.0f} users/s", f"{event.number}/{event.rounds}"
        if self._rounds is None:
            self._rounds = self._bar.add_task("", total=event.rounds, epoch="", now="")
            self._said = 0.0
        self._bar.update(self._rounds, completed=event.number, epoch=done, now=f"loss {loss}  {rate}")
        last = event.number == event.rounds
        if last or event.validation or time.monotonic() - self._said > ROUNDS_QUIET:
            groups = {"train": event.train, "validation": event.validation}
            self._row("round", done, groups, event.seconds)

    def _line(self, event: events.EpochEnded) -> None:
        best = "  best" if event.best and event.validation else ""
        groups = {"train": event.train, "validation": event.validation}
        self._row("epoch", f"{event.epoch}/{self._epochs}", groups, event.seconds, best)

    def _row(
        self,
        what: str,
        where: str,
        groups: Mapping[str, Mapping[str, Any]],
        seconds: float,
        best: str = "",
    ) -> None:
        """A line of the history; the first one has the names above it."""
        self._said = time.monotonic()
        if not self._headed:
            self._headed = True
            self._columns = [(g, name, max(len(name), 7)) for g, scores in groups.items() for name in scores]
            self._narrow = sum(w + 2 for *_, w in self._columns) + 22 > columns()
            if not self._narrow:
                self._print(self._header(groups))
                self._print("  ".join([what.rjust(7), *(n.rjust(w) for _, n, w in self._columns), "seconds"]))
        if self._narrow:
            self._print("\n".join(_by_name(f"{what} {where}, {seconds:.1f} s{best}", groups)))
            return
        cells = [number(groups[group].get(name)).rjust(width) for group, name, width in self._columns]
        self._print("  ".join([where.rjust(7), *cells, f"{seconds:7.1f}"]) + best)

    def _header(self, groups: Mapping[str, Mapping[str, Any]]) -> str:
        """The names of the groups, each above its first column."""
        text = "\n" + " " * 9
        for group, scores in groups.items():
            width = sum(w + 2 for g, _, w in self._columns if g == group)
            text += group.rjust(self._columns[0][2]).ljust(width) if scores else ""
        return text.rstrip()

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)


def _by_name(head: str, groups: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Scores by name, a paragraph for each kind of rows: for more than a line of a table holds."""
    yield f"\n{head}"
    for group, scores in groups.items():
        if scores:
            pairs = "  ".join(f"{name} {number(value)}".replace(" ", _HARD) for name, value in scores.items())
            lines = broken(f"{group:10}  {pairs}", columns(), "  ", 12)
            yield from (line.replace(_HARD, " ") for line in lines)


def started(event: events.StartedFrom, width: int) -> Iterator[str]:
    """What a run takes from another one, and what it does not."""
    yield f"\nstarts from {event.run}: {event.taken:,} weights"
    told = {
        "new, or of another shape, and drawn": event.fresh,
        "gone": event.gone,
        "encoders as they were fitted there": event.kept,
        "encoders fitted anew": event.fitted,
    }
    for what, names in told.items():
        if names:
            yield from broken(f"  {what}: {', '.join(names)}", width, "  ", 4)


def fitted(event: events.TablesFitted, width: int) -> Iterator[str]:
    """The information value of each table of weights of evidence, the largest first."""
    tables = sorted(event.tables, key=lambda each: -each.information)
    for label in dict.fromkeys(each.label for each in tables):
        found = [(each.feature, each.information) for each in tables if each.label == label]
        values = ", ".join(f"{feature} {value:.3f}" for feature, value in found)
        yield from broken(f"information values for {label}: {values}", width, "", 2)


def warned(event: events.Warned) -> None:
    """A warning on stderr, as those about a spec."""
    failures.show([Diagnostic(event.code, event.message, help=event.help, level="warning")])


def loaded(screen: Console, event: events.Event) -> None:
    """What became of the rows: kept and dropped by party, and values that encoders did not know.

    And what was taken in the place of something damaged.
    """
    if isinstance(event, events.FellBack):
        screen.print(f"{event.what}: using {event.to}", markup=False, soft_wrap=True)
    if isinstance(event, events.Loaded):
        show(screen, alignment(event.report))
        unknown = unknown_values(event.report)
        if unknown is not None:
            show(screen, unknown)
        _warn(event.report)


def _warn(report: Mapping[str, Any]) -> None:
    """VFL0633, of a column whose values are all unknown to its vocabulary: it says nothing as it is.

    VFL0690, of one that a few rows make far wider than most.
    """
    from vflc.cli import failures
    from vflc.diagnostics import Diagnostic

    for name, counts in report["encoders"].items():
        if counts.get("expected"):
            seen, listed = (", ".join(map(repr, counts[each][:3])) for each in ("examples", "expected"))
            message = (
                f"{name}: not one of its {counts['unknown']:,} values is in its vocab, which has values "
                f"such as {listed}"
            )
            help = f"compare the spelling with the table's values, {seen}, or declare those"
            failures.show([Diagnostic("VFL0633", message, None, help, level="warning")])
        if counts.get("widest"):
            message = (
                f"{name}: a row has {counts['widest']:,} values, but the mean is {counts['mean']:g}: and "
                "every "
                "row is as wide in memory"
            )
            help = "keep only the last values of each row: -> sequence(max = 100)"
            failures.show([Diagnostic("VFL0690", message, None, help, level="warning")])
