"""Attacks a run as each of its places could, and reports what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime.audit import bounds, features, verdict
from vflc_runtime.audit import runs as several
from vflc_runtime.audit.adversary_view import AdversaryView, ObservedEdges
from vflc_runtime.audit.attacks.attack import LabelAttack
from vflc_runtime.audit.attacks.start import Start
from vflc_runtime.audit.context import Context
from vflc_runtime.audit.initial import Imitation, unravel
from vflc_runtime.audit.judge import Judge, relative_error
from vflc_runtime.audit.knowledge import Knowledge
from vflc_runtime.audit.labels import FEATURE_ATTACKS, FU, LABEL_ATTACKS, tally
from vflc_runtime.audit.refute import refute
from vflc_runtime.audit.report import AttackScore, BoundTest, Report, worst_first
from vflc_runtime.audit.scores import Spread
from vflc_runtime.data.source import TableSource
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.transcript import RecordedStep, Transcript

Tell = Callable[[str], None]

TRIED = 60
"""Steps of the run by which bounds are put to the test."""
DRAWS = 5
"""How often labels that are known are drawn, for model completion."""


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How to attack.

    Args:
        parties: who is curious; every place where empty.
        known_labels: how many labels model completion is given.
        known_rows: how many rows feature inversion is given, at most half of those predicted.
        engine, threads: of the prediction with the trained model.
        bounds: whether bounds that guesses can refute are put to the test, by a short run of its own.
        runs: others on the same rows, which attacks are added up over.
        apart: of each party its table of the rows that the runs validate with, if they have such.
    """

    parties: tuple[str, ...] = ()
    known_labels: int = 100
    known_rows: int = 1000
    engine: str = DEFAULT_ENGINE
    threads: int | None = None
    bounds: bool = True
    runs: tuple[Path, ...] = ()
    apart: Mapping[str, TableSource] | None = None


def audit(
    run: Path | str,
    sources: Mapping[str, TableSource],
    options: AuditOptions | None = None,
    transcripts: Path | str | None = None,
    listen: Listener = silent,
    tell: Tell = lambda what: None,
) -> Report:
    """Plays each curious party of a run with what it received.

    Args:
        run: the run's folder.
        sources: of each party its source; they are the truth, and the attacker's own table.
        options: how to attack.
        transcripts: where the transcripts lie; in the run's folder where None.
        listen: is told when the data is loaded.
        tell: is told what is being attacked.

    Raises:
        Failure: VFL0614, VFL0618, VFL0626, VFL0680, VFL0681, VFL0689, VFL0748, and those of reading data.
    """
    options, run = options or AuditOptions(), Path(run)
    context = _opened(run, Path(transcripts or run), sources, options, listen)
    others = [_other(context, each, sources, options, listen) for each in options.runs]
    places = tuple(context.bundle.plans)
    for name in options.parties:
        if name not in places:
            known = ", ".join(places)
            raise Failure("VFL0681", f"{name!r} is not a place of this run", f"use one of: {known}")
    curious = options.parties or places
    starts = context.starts(options.engine)
    scores = [score for place in curious for score in _place(context, place, starts[place], options, tell)]
    for place in curious if others else ():
        tell(f"{place} after labels, over {len(others) + 1} runs")
        scores += _over_runs([context, *others], place)
    settings, manifest = context.run.settings, context.bundle.manifest
    steps = max(len(Transcript(context.transcripts, place)) for place in places)
    return Report(
        model=manifest.model,
        digest=manifest.digest,
        rows=context.data.rows,
        steps=steps,
        batch=settings["batch"],
        runs=1 + len(others),
        task=context.task(),
        known={"labels": options.known_labels, "rows": options.known_rows},
        edges=context.edges,
        passed=context.passed({edge for score in scores for edge in score.edges}, curious),
        scores=tuple(worst_first(scores)),
        trials=_trials(context, options, tell) if options.bounds else None,
    )


def _other(
    context: Context, run: Path, sources: Mapping[str, TableSource], options: AuditOptions, listen: Listener
) -> Context:
    """Another run on the same rows; VFL0689 where it is of another spec."""
    theirs = RunFolder(run).settings.get("digest")
    if theirs != context.run.settings["digest"]:
        raise Failure(
            "VFL0689",
            f"{run} is a run of another spec than {context.run.path}",
            "audit runs of one spec together, and others by themselves",
        )
    return _opened(run, run, sources, options, listen)


def _opened(
    run: Path, transcripts: Path, sources: Mapping[str, TableSource], options: AuditOptions, listen: Listener
) -> Context:
    return Context.open(run, transcripts, sources, options.engine, options.threads, listen, options.apart)


def _over_runs(runs: Sequence[Context], place: str) -> Iterator[AttackScore]:
    """Attacks on labels whose scores are added up, row by row, over all runs."""
    first, views = runs[0], [context.view(place) for context in runs]
    settings = [context.run.settings for context in runs]
    for knowledge, judge in first.labels(place):
        label = knowledge.label.id
        proven = several.bound(views[0].learned, settings, place, label)
        for channel in views[0].channels("backward"):
            told = label in first.depends_on(channel.edges)
            for attack, rows, sums in several.sums(views, channel, knowledge, told):
                judged = judge.votes(rows, sums, settings[0]["batch"])
                if judged is not None:
                    alone, last = judged
                    words = f"{attack.title}, added up over {len(runs)} runs", attack.paper, attack.knows
                    details = {"first run": alone.mean, "runs": float(len(runs))}
                    level = verdict.of_label(last)
                    key = f"{attack.key}, {len(runs)} runs"
                    score = _score(views[0], label, channel, key, words, "auc", last, level, details)
                    yield replace(score, bound=proven)


def _trials(context: Context, options: AuditOptions, tell: Tell) -> tuple[BoundTest, ...]:
    settings, bundle, runs = context.run.settings, context.bundle, 1 + len(options.runs)
    given = options.parties, options.engine, options.threads
    return refute(bundle, context.data, settings, TRIED, *given, runs=runs, tell=tell)


def _place(
    context: Context, place: str, start: Start, options: AuditOptions, tell: Tell
) -> Iterator[AttackScore]:
    view = context.view(place)
    view.start = start
    for knowledge, judge in context.labels(place):
        tell(f"{place} after {knowledge.label.id}")
        yield from _looks(context, view, knowledge, judge)
        yield from _votes(context, view, knowledge, judge)
        yield from _completion(view, knowledge, judge, options)
    for knowledge, judge in context.told(place):
        tell(f"{place} after {knowledge.label.id}")
        yield from _looks(context, view, knowledge, judge, FEATURE_ATTACKS)
    first = next(iter(view.steps(1)), None)
    imitation = context.imitation() if first is not None and first.number == 1 else None
    for sender, channel in view.senders().items():
        tell(f"{place} after the features of {sender}")
        yield from _inversion(context, view, channel, options)
        if first is not None and imitation is not None:
            yield from _initial(context, view, channel, first, imitation)


def _looks(
    context: Context,
    view: AdversaryView,
    knowledge: Knowledge,
    judge: Judge,
    attacks: Mapping[str, tuple[LabelAttack, ...]] | None = None,
) -> Iterator[AttackScore]:
    """Attacks that look at batches: those on labels, or by phase the ones given, where told of the secret."""
    label = knowledge.label
    for channel in (*view.every_channel(), *view.whole()):
        told = label.id in context.depends_on(channel.edges) and not channel.sent
        if attacks is not None and not told:
            continue
        for attack in LABEL_ATTACKS if attacks is None else attacks[channel.phase]:
            if label.kind in attack.kinds and attack.looks_at(channel, told):
                spread = judge.looks(attack.run(view, channel, knowledge))
                if spread is not None:
                    words = attack.title, attack.paper, attack.knows
                    level = verdict.of_label(spread)
                    phase = None if attacks is None else channel.phase
                    yield _score(
                        view, label.id, channel, attack.key, words, spread.measure, spread, level, phase=phase
                    )


def _votes(
    context: Context, view: AdversaryView, knowledge: Knowledge, judge: Judge
) -> Iterator[AttackScore]:
    """A vote over epochs, where rows were recorded more than once."""
    if knowledge.label.kind == "classes":
        return
    for channel in view.channels("backward"):
        if knowledge.label.id in context.depends_on(channel.edges):
            rows, sums = tally([view], channel)
            judged = judge.votes(rows, sums, context.run.settings["batch"]) if sums.shape[1:] > (1,) else None
            if judged is not None:
                first, last = judged
                words = "signs of one row, added up over epochs", f"{FU} (direct), by a vote of epochs", ""
                details = {"first epoch": first.mean, "epochs": float(sums.shape[1])}
                level = verdict.of_label(last)
                yield _score(view, knowledge.label.id, channel, "vote", words, "auc", last, level, details)


def _completion(
    view: AdversaryView, knowledge: Knowledge, judge: Judge, options: AuditOptions
) -> Iterator[AttackScore]:
    sent = view.channels("forward", "predict", sent=True)
    channels = sent or view.channels("forward", "predict")
    if not channels:
        return
    made = [
        judge.completion(
            features.complete(view, channels[0], knowledge, options.known_labels, draw), view.prediction.rows
        )
        for draw in range(DRAWS)
    ]
    bottom, plain = np.array(made).T
    spread = Spread(bottom.mean(), float(np.quantile(bottom, 0.95)), plain.mean(), DRAWS)
    measure = {"binary": "auc", "classes": "accuracy", "number": "correlation"}[knowledge.label.kind]
    words = "a head learned on a few labels", features.FU, f"{options.known_labels} labels"
    level = verdict.of_completion(spread.mean, spread.chance)
    yield _score(view, knowledge.label.id, channels[0], "completion", words, measure, spread, level)


def _inversion(
    context: Context, view: AdversaryView, channel: ObservedEdges, options: AuditOptions
) -> Iterator[AttackScore]:
    rows = view.prediction.rows
    known = np.sort(
        np.random.default_rng(0).permutation(len(rows))[: min(options.known_rows, len(rows) // 2)]
    )
    rest = np.setdiff1d(np.arange(len(rows)), known)
    if len(known) < 2:
        return
    activations = view.rows(view.prediction, channel)
    found = context.features(view.place, channel.edges)
    truths = {name: features.Spelling.of(v[rows[known]])(v[rows]) for name, v in found.items()}
    taught = {name: truth[known] for name, truth in truths.items()}
    for key, paper, way in (
        ("linear", features.LUO, "linear map"),
        ("decoder", features.HE, "small network"),
    ):
        guesses = features.invert(activations, known, taught, key == "decoder") if taught else {}
        for name, guess in guesses.items():
            truth = truths[name]
            error = relative_error(guess[rest], truth[rest], truth[known].mean(axis=0))
            spread = Spread(error, error, 1.0, 1)
            words = f"a {way} from messages to the feature", paper, f"{len(known):,} rows of the sender"
            details = _right(guess, truth, known, rest) if truth.shape[1] > 1 else {}
            level = verdict.of_error(error)
            yield _score(view, name, channel, key, words, "error", spread, level, details)


def _initial(
    context: Context, view: AdversaryView, channel: ObservedEdges, first: RecordedStep, imitation: Imitation
) -> Iterator[AttackScore]:
    """Features of the rows of step 1, from the initial weights that everybody knows."""
    values = context.features(view.place, channel.edges)
    made, received = view.rows(imitation.step, channel), view.rows(first, channel)
    found = unravel(imitation, values, made, received)
    for name, (spelling, guess, mean) in found.items():
        error = relative_error(guess, spelling(values[name][first.rows]), mean)
        spread = Spread(error, error, 1.0, 1)
        words = "the way back through the initial weights, which all know", features.HE, ""
        yield _score(view, name, channel, "initial", words, "error", spread, verdict.of_error(error))


def _right(guess: Array, truth: Array, known: Array, rest: Array) -> dict[str, float]:
    """How often the most likely value is right, and how often the most frequent one of all is."""
    constant = np.broadcast_to(truth[known].mean(axis=0), truth[rest].shape)
    found = features.right(guess[rest], truth[rest]), features.right(constant, truth[rest])
    return dict(zip(("right", "most frequent"), found, strict=True))


def _score(
    view: AdversaryView,
    secret: str,
    channel: ObservedEdges,
    attack: str,
    words: tuple[str, str, str],
    measure: str,
    spread: Spread,
    level: Any,
    details: dict[str, float] | None = None,
    phase: str | None = None,
) -> AttackScore:
    title, paper, knows = words
    help = verdict.advice(attack, view.place, secret, level, phase)
    bound = bounds.of_secret(view.learned, view.place, secret)
    return AttackScore(
        party=view.place,
        secret=secret,
        channel=channel.name,
        edges=channel.edges,
        phase=channel.phase,
        sent=channel.sent,
        attack=attack,
        title=title,
        paper=paper,
        knows=knows,
        measure=measure,
        score=float(spread.mean),
        quantile=float(spread.quantile),
        chance=float(spread.chance),
        batches=spread.batches,
        level=level,
        verdict=verdict.sentence(level, view.place, secret, title, measure == "pairs"),
        bound=bounds.in_words(bound),
        advice=help,
        details=details or {},
    )
