"""Populations: `global` and `local` bindings, the hub, and `train reconstruct { … }`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vflc_common.words import DIVISIONS, HALVES, WEIGHTINGS

from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.model import OptimizerRule, PartyInfo, Population, Reconstruction
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.metrics import lower_metrics
from vflc.passes.lower.settings import Check, lower_optimizer
from vflc.passes.lower.values import Poison, Scope, describe
from vflc.syntax import tree

RULES: Mapping[str, Mapping[str, Any]] = {
    "rebuild": {"lr": 0.1},
    "client": {"lr": 0.1},
    "server": {"lr": 1.0},
}
"""The optimizers of the three phases and what they are where the spec does not say: SGD."""
LIMITS = {tree.Protect: "protect", tree.Accept: "accept"}
"""For edges between parties; between a hub and its users are client updates, of one form."""
PLAIN_HALVES = tuple(word for word in HALVES if word != "fraction")
WORDS = {"weighting": WEIGHTINGS, "divide": DIVISIONS}


def _count(low: int) -> Check:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= 2**31


def _real(v: Any) -> bool:
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def _flag(v: Any) -> bool:
    return isinstance(v, bool)


SETTINGS: dict[str, tuple[Check, str]] = {
    "rounds": (_count(1), "a whole number, 1 or more"),
    "cohort": (_count(1), "a whole number of users, 1 or more"),
    "batch": (_count(1), "a whole number of examples, 1 or more"),
    "limit": (_count(2), "a whole number of examples, 2 or more"),
    "seed": (_count(0), "a whole number, 0 or more"),
    "validation": (lambda v: _real(v) and 0 <= v < 1, "a share of the users, from 0 to below 1"),
    "test": (lambda v: _real(v) and 0 <= v < 1, "a share of the users, from 0 to below 1"),
    "rebuild_epochs": (_count(1), "a whole number, 1 or more"),
    "rebuild_steps": (_count(1), "a whole number, 1 or more"),
    "client_epochs": (_count(1), "a whole number, 1 or more"),
    "client_steps": (_count(1), "a whole number, 1 or more"),
    "joint": (_flag, "true or false"),
    "keep_local": (_flag, "true or false"),
    "clip_norm": (lambda v: _real(v) and 0 < v < float("inf"), "a number above 0"),
    "noise": (lambda v: _real(v) and 0 < v < float("inf"), "a multiple of clip_norm, above 0"),
    "noise_delta": (lambda v: _real(v) and 0 < v < 1, "a probability between 0 and 1"),
    "evaluate_every": (_count(1), "a whole number of rounds, 1 or more"),
    "checkpoint_rounds": (_count(1), "a whole number of rounds, 1 or more"),
}
OTHERS = ("halves", *WORDS, "metrics", *RULES)


def lower_population(
    ev: Evaluator, spec: tree.Spec, parties: Mapping[str, PartyInfo], scope: Scope
) -> Population | None:
    """Checks what a spec says about its population; None where it has none, or after mistakes."""
    populations = [i for i in spec.items if isinstance(i, tree.Party) and i.population]
    scoped = [i for i in spec.items if isinstance(i, tree.Binding) and i.scope is not None]
    trains = [i for i in spec.items if isinstance(i, tree.Train)]
    if not populations:
        _need_population(ev, scoped, trains)
        return None
    people, *more = populations
    for other in more:
        ev.error("VFL0502", "a spec has one population", other.span, f"keep only `{people.name.text}`")
    hub = _hub(ev, spec, people, parties)
    for train in trains:
        if train.mode is None:
            help = "write `train reconstruct { … }`, with epochs and steps for each of its phases"
            ev.error("VFL0407", "a population must be trained by reconstruction", train.span, help)
    for item in spec.items:
        if isinstance(item, tree.Predict) and item.at is not None and item.at.text == hub:
            help = f"write `at {people.name.text}`, or leave `at` out: a prediction is made at its user"
            ev.error("VFL0407", f"{hub} only keeps weights and cannot predict", item.at.span, help)
    for column in parties[people.name.text].columns if people.name.text in parties else ():
        if column.kind == "weight":
            help = "remove it: all examples of a user count the same"
            text = "`weight` is not supported in a population in this version"
            ev.error("VFL0502", text, column.span, help)
    for item in spec.items:
        if type(item) in LIMITS:
            text = f"`{LIMITS[type(item)]}` does not apply to a population"
            help = (
                "remove it; `clip_norm` and `noise` of `train reconstruct` limit what a client update reveals"
            )
            ev.error("VFL0502", text, item.span, help)
    config, rules = _settings(ev, next((t for t in trains if t.mode is not None), None), scope)
    if hub is None:
        return None
    scopes = {b.name.text: str(b.scope) for b in scoped if _lives(ev, b, people.name.text, hub)}
    return Population(people.name.text, hub, scopes, config, rules)


def _need_population(ev: Evaluator, scoped: list[tree.Binding], trains: list[tree.Train]) -> None:
    for binding in scoped:
        ev.error(
            "VFL0407",
            f"`{binding.scope}` is for weights of a population, but the spec has none",
            binding.span,
            f"remove `{binding.scope}`, or declare the users: population users {{ … }}",
        )
    for train in trains:
        if train.mode is not None and train.mode.text == "reconstruct":
            help = "write `train { … }`, or declare the users: population users { … }"
            ev.error("VFL0407", "there is no population to reconstruct", train.span, help)


def _hub(ev: Evaluator, spec: tree.Spec, people: tree.Party, parties: Mapping[str, PartyInfo]) -> str | None:
    others = [i for i in spec.items if isinstance(i, tree.Party) and not i.population]
    for party in others:
        if party.columns or party.key:
            ev.error(
                "VFL0502",
                f"`{party.name.text}` has a table, which a party beside a population cannot have",
                party.span,
                f"move the columns to the table of the users, and write: party {party.name.text} {{}}",
            )
    if not others:
        ev.error(
            "VFL0405",
            f"the population `{people.name.text}` has no hub to keep the global weights",
            people.name.span,
            "declare a party without a table: party hub {}",
        )
        return None
    for party in others[1:]:
        ev.error("VFL0502", "a population has one hub", party.span, f"keep only `{others[0].name.text}`")
    return others[0].name.text


def _lives(ev: Evaluator, binding: tree.Binding, people: str, hub: str) -> bool:
    """Global weights live at the hub, local ones at the population; a place that is given is checked."""
    assert binding.scope is not None
    home = hub if binding.scope == "global" else people
    if binding.at is not None and binding.at.text != home:
        ev.error(
            "VFL0407",
            f"a {binding.scope} weight cannot be at `{binding.at.text}`",
            binding.at.span,
            f"write `at {home}`: the hub keeps global weights, and local ones never leave their user",
        )
        return False
    return True


def _settings(
    ev: Evaluator, train: tree.Train | None, scope: Scope
) -> tuple[Reconstruction, Mapping[str, OptimizerRule]]:
    values: dict[str, Any] = {}
    rules = {name: OptimizerRule(name, "sgd", options, (), None) for name, options in RULES.items()}
    seen: set[str] = set()
    for setting in train.settings if train else ():
        name = setting.name.text
        if name in seen:
            ev.error("VFL0102", f"`{name}` is set twice", setting.name.span)
            continue
        seen.add(name)
        if name in RULES:
            found = lower_optimizer(ev, setting, scope, RULES[name])
            if found is not None:
                rules[name] = OptimizerRule(name, found.name, found.options, (), setting.span)
        elif name == "metrics":
            values[name] = tuple(lower_metrics(ev, setting, scope))
        elif name == "halves":
            values |= _halves(ev, setting, scope)
        elif name in WORDS:
            values |= _word(ev, setting, WORDS[name])
        elif name in SETTINGS:
            values |= _single(ev, setting, scope)
        else:
            known = [*SETTINGS, *OTHERS]
            near = did_you_mean(name, known)
            help = f"did you mean `{near}`?" if near else f"use one of: {', '.join(known)}"
            ev.error("VFL0106", f"unknown setting `{name}`", setting.name.span, help)
    _fit(ev, train, values)
    return Reconstruction(**values), rules


def _single(ev: Evaluator, setting: tree.Setting, scope: Scope) -> dict[str, Any]:
    name = setting.name.text
    check, wanted = SETTINGS[name]
    if len(setting.values) != 1:
        ev.error("VFL0107", f"`{name}` takes one value", setting.span, f"give {wanted}")
        return {}
    if setting.condition:
        text = "users of a population are kept for validation whole, whatever their rows are"
        ev.error("VFL0022", text, setting.values[0].span, f"give {wanted}")
        return {}
    value = ev.evaluate(setting.values[0], scope)
    if isinstance(value, Poison):
        return {}
    if not check(value):
        text = f"`{name}` must be {wanted}; this is {describe(value)}"
        ev.error("VFL0205", text, setting.values[0].span)
        return {}
    return {name: value}


def _word(ev: Evaluator, setting: tree.Setting, words: tuple[str, ...]) -> dict[str, Any]:
    expr = setting.values[0] if len(setting.values) == 1 else None
    if isinstance(expr, tree.Ref) and expr.name in words:
        return {setting.name.text: expr.name}
    ev.error("VFL0205", f"`{setting.name.text}` must be one of {', '.join(words)}", setting.span)
    return {}


def _halves(ev: Evaluator, setting: tree.Setting, scope: Scope) -> dict[str, Any]:
    """`halves examples`, `batches`, `same` or `fraction(0.3)`."""
    expr = setting.values[0] if len(setting.values) == 1 else None
    if not (
        isinstance(expr, tree.Call)
        and isinstance(expr.function, tree.Ref)
        and expr.function.name == "fraction"
        and len(expr.arguments) == 1
    ):
        found = _word(ev, setting, PLAIN_HALVES) if isinstance(expr, tree.Ref) else {}
        if not isinstance(expr, tree.Ref):
            text = f"`halves` must be one of {', '.join(PLAIN_HALVES)}, or fraction(0.5)"
            ev.error("VFL0205", text, setting.span)
        return found
    value = ev.evaluate(expr.arguments[0].value, scope)
    if isinstance(value, Poison):
        return {}
    if not _real(value) or not 0 < value < 1:
        ev.error("VFL0205", "a fraction must be between 0 and 1", expr.arguments[0].span)
        return {}
    return {"halves": "fraction", "fraction": float(value)}


def _fit(ev: Evaluator, train: tree.Train | None, values: dict[str, Any]) -> None:
    """Settings that need each other."""
    if train is None:
        return
    if values.get("validation", 0.1) + values.get("test", 0.1) >= 1:
        ev.error("VFL0205", "`validation` and `test` leave no users to train on", train.span)
    if "noise" not in values:
        if "noise_delta" in values:
            ev.error("VFL0205", "`noise_delta` has no effect without `noise`", train.span)
        return
    missing = [name for name in ("clip_norm", "noise_delta") if name not in values]
    if missing:
        help = "add it: noise is a multiple of clip_norm, and its ε is stated for a noise_delta"
        ev.error("VFL0107", f"`noise` needs `{missing[0]}`", train.span, help)
    if values.get("weighting", "examples") != "uniform":
        help = "add `weighting uniform`: weighting by examples would reveal how many a user has"
        ev.error("VFL0205", "`noise` needs uniform weighting", train.span, help)
