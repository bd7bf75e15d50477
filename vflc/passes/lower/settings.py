"""`train { … }`: settings checked one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from vflc_common.metrics import LOSS
from vflc_common.words import FACTORS, FactorType

from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.model import OptimizerRule, PartyInfo, TrainConfig
from vflc.ops.optimizer import Optimizer, check_foreign
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.schedules import SCHEDULES
from vflc.passes.lower import foreign
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.held_out import is_held_out, lower_held_out
from vflc.passes.lower.metrics import lower_metrics, lower_monitor
from vflc.passes.lower.values import POISON, Poison, Scope, describe
from vflc.syntax import tree

Check = Callable[[Any], bool]


def _whole(low: int) -> Check:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= 2**53


def _number(v: Any) -> bool:
    return isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < float("inf")


SETTINGS: dict[str, tuple[Check, str]] = {
    "batch": (_whole(1), "a whole number of rows, 1 or more"),
    "epochs": (_whole(1), "a whole number, 1 or more"),
    "seed": (_whole(0), "a whole number, 0 or more"),
    "validation": (
        lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and 0 <= v < 1,
        "a fraction of the rows, from 0 to below 1, or `where` with a condition, groups(COLUMN, 0.2) or "
        "stratified(COLUMN, 0.2)",
    ),
    "shuffle": (lambda v: isinstance(v, bool), "true or false"),
    "patience": (_whole(1), "a number of epochs, 1 or more"),
    "best": (lambda v: isinstance(v, bool), "true or false"),
    "secret_start": (lambda v: isinstance(v, bool), "true or false"),
    "push_down": (lambda v: isinstance(v, bool), "true or false"),
    "checkpoint_steps": (_whole(1), "a number of steps, 1 or more"),
    "clip_norm": (_number, "a number above 0"),
    "clip_value": (_number, "a number above 0"),
}

LISTS = ("optimizer", "metrics", "monitor", "freeze", "drop", "precision")
"""Settings with values of their own kinds."""


def lower_train(
    ev: Evaluator, train: tree.Train | None, scope: Scope, parties: dict[str, PartyInfo]
) -> TrainConfig:
    """The configuration of a spec; the defaults with Adam where there is no `train`.

    A party whose columns decide which rows are kept for validation gets the column that does.
    """
    values: dict[str, Any] = {}
    optimizers: list[OptimizerRule] = []
    for setting in train.settings if train else ():
        name = setting.name.text
        if name == "drop":
            values[name] = {**values.get(name, {}), **_dropped(ev, setting, scope)}
        elif name in values or (name == "metrics" and "metrics" in values):
            ev.error("VFL0102", f"`{name}` is set twice", setting.name.span)
        elif name == "optimizer":
            rule = lower_optimizer(ev, setting, scope)
            if rule is not None:
                optimizers.append(rule)
        elif name == "metrics":
            values["metrics"] = tuple(lower_metrics(ev, setting, scope))
        elif name == "monitor":
            single = _is_single(ev, setting, "a metric")
            if single and (found := lower_monitor(ev, setting.values[0], scope)) is not None:
                values[name] = found
        elif name == "precision":
            if (factors := _factors(ev, setting)) is not None:
                values[name] = factors
        elif name == "freeze":
            values["frozen"] = tuple((pattern.text, pattern.span) for pattern in setting.patterns)
        elif name == "validation" and is_held_out(setting):
            kept = lower_held_out(ev, setting, scope, parties)
            if kept is not None:
                values["validation"], values["held_out"] = kept
        elif name in SETTINGS:
            value = _single(ev, setting, scope)
            if not isinstance(value, Poison):
                values[name] = value
        else:
            known = [*SETTINGS, *LISTS]
            near = did_you_mean(name, known)
            ev.error(
                "VFL0106",
                f"unknown setting `{name}`",
                setting.name.span,
                foreign.instead(foreign.SETTINGS, name)
                or (f"did you mean `{near}`?" if near else f"use one of: {', '.join(known)}"),
            )
    if not any(not rule.patterns for rule in optimizers):
        optimizers.append(OptimizerRule("adam", "adam", {}, (), None))
    if values.get("monitor", LOSS) not in (LOSS, *values.get("metrics", ())):
        values["metrics"] = (*values.get("metrics", ()), values["monitor"])
    values.setdefault("best", values.get("validation", 0) > 0 or "held_out" in values)
    return TrainConfig(optimizers=_unique_ids(optimizers), **values)


def _factors(ev: Evaluator, setting: tree.Setting) -> FactorType | None:
    """What `precision` names; None after a mistake."""
    wanted = " or ".join(FACTORS)
    if not _is_single(ev, setting, wanted):
        return None
    given = setting.values[0]
    if isinstance(given, tree.Ref) and (named := next((f for f in FACTORS if f == given.name), None)):
        return named
    text = f"`precision` must be {wanted}"
    help = "write precision bfloat16, or leave it out"
    if isinstance(given, tree.Ref) and given.name == "float64":
        help = "all of a bundle is in float64 with `vflc compile --precision float64`"
    ev.error("VFL0205", text, given.span, help)
    return None


def _dropped(ev: Evaluator, setting: tree.Setting, scope: Scope) -> dict[str, float]:
    """The party of `drop alice 0.2` and its share; `check_drop` looks at the party."""
    party, share = setting.values
    value = ev.evaluate(share, scope)
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1
    if not fits and not isinstance(value, Poison):
        wanted = "a share of the rows, from 0 to below 1"
        ev.error("VFL0205", f"`drop` must be {wanted}; this is {describe(value)}", share.span)
    return {party.name: float(value)} if fits and isinstance(party, tree.Ref) else {}


def check_drop(
    ev: Evaluator, train: tree.Train | None, parties: Collection[str], lacking: Collection[str]
) -> None:
    """VFL0116 where rows of a party are dropped that is not allowed to lack any."""
    dropped = (
        [setting.values[0] for setting in train.settings if setting.name.text == "drop"] if train else []
    )
    for party in dropped:
        if isinstance(party, tree.Ref) and party.name not in lacking:
            text = f"`drop` takes rows of {party.name}, which has no defaults to stand in"
            help = f"declare at {party.name}: missing party allowed"
            if party.name not in parties:
                text = f"`drop` takes rows of {party.name}, which is no party"
                near = did_you_mean(party.name, lacking or parties)
                help = f"did you mean `{near}`?" if near else f"the parties are {', '.join(parties)}"
            ev.error("VFL0116", text, party.span, help)


def _single(ev: Evaluator, setting: tree.Setting, scope: Scope) -> Any:
    name = setting.name.text
    check, wanted = SETTINGS[name]
    if not _is_single(ev, setting, wanted):
        return POISON
    expr = setting.values[0]
    value = ev.evaluate(expr, scope)
    if isinstance(value, Poison) or check(value):
        return value
    return ev.error("VFL0205", f"`{name}` must be {wanted}; this is {describe(value)}", expr.span)


def _is_single(ev: Evaluator, setting: tree.Setting, wanted: str) -> bool:
    if len(setting.values) != 1:
        name = setting.name.text
        ev.error("VFL0107", f"`{name}` takes one value", setting.span, f"give {wanted}")
    return len(setting.values) == 1


def lower_optimizer(
    ev: Evaluator, setting: tree.Setting, scope: Scope, defaults: Mapping[str, Any] | None = None
) -> OptimizerRule | None:
    """The optimizer that a setting names, `defaults` before the optimizer's own; None after a mistake."""
    expr = setting.values[0] if len(setting.values) == 1 else None
    name = expr.function if isinstance(expr, tree.Call) else expr
    if not isinstance(name, tree.Ref):
        ev.error(
            "VFL0107",
            f"`{setting.name.text}` takes one optimizer",
            setting.span,
            f"as in: {setting.name.text} adam(lr = 0.001)",
        )
        return None
    if name.name not in OPTIMIZERS:
        near = did_you_mean(name.name, OPTIMIZERS.names())
        ev.error(
            "VFL0106",
            f"unknown optimizer `{name.name}`",
            name.span,
            f"did you mean `{near}`?" if near else f"use one of: {', '.join(OPTIMIZERS.names())}",
        )
        return None
    optimizer = ev.record(OPTIMIZERS, name.name, name.span)
    if optimizer is None:
        return None
    options = _options(ev, expr, list(optimizer.parameters), scope) if isinstance(expr, tree.Call) else {}
    if options is None:
        return None
    options = {**(defaults or {}), **options}
    ours = name.name in OPTIMIZERS.ours

    def check(found: Optimizer) -> None:
        found.check(options)
        if not ours:
            check_foreign(found, options)

    if ev.record(OPTIMIZERS, name.name, setting.span, check) is None:
        return None
    return OptimizerRule(name.name, name.name, options, tuple(p.text for p in setting.patterns), setting.span)


def _options(ev: Evaluator, call: tree.Call, known: list[str], scope: Scope) -> dict[str, Any] | None:
    """Named numbers of an optimizer or a schedule; `lr` may be a schedule itself."""
    assert isinstance(call.function, tree.Ref)
    options: dict[str, Any] = {}
    for position, argument in enumerate(call.arguments):
        name = argument.name.text if argument.name else known[position] if position < len(known) else ""
        if name not in known or name in options:
            near = did_you_mean(name, known)
            text = (
                f"`{name}` is given twice"
                if name in options
                else f"`{call.function.name}` has no argument `{name}`"
            )
            help = f"did you mean `{near}`?" if near else f"it has {', '.join(known)}"
            help = foreign.instead(foreign.ARGUMENTS, name) or help
            ev.error("VFL0107", text, argument.span, help)
            return None
        value = _option(ev, name, argument.value, scope)
        if isinstance(value, Poison):
            return None
        options[name] = value
    return options


def _option(ev: Evaluator, option: str, expr: tree.Expr, scope: Scope) -> Any:
    if (
        isinstance(expr, tree.Call)
        and isinstance(expr.function, tree.Ref)
        and expr.function.name in SCHEDULES
    ):
        return _schedule(ev, expr, expr.function, scope)
    value = ev.evaluate(expr, scope)
    if isinstance(value, (bool, Poison)):
        return value
    if not isinstance(value, (int, float)) or not abs(value) < float("inf"):
        return ev.error("VFL0203", f"an option must be a number; this is {describe(value)}", expr.span)
    if value < 0 and option != "lr_power":
        return ev.error("VFL0205", "an optimizer's options cannot be negative", expr.span)
    return value


def _schedule(ev: Evaluator, call: tree.Call, name: tree.Ref, scope: Scope) -> Any:
    schedule = ev.record(SCHEDULES, name.name, name.span)
    options = _options(ev, call, list(schedule.parameters), scope) if schedule is not None else None
    if schedule is None or options is None:
        return POISON
    missing = [p for p, default in schedule.parameters.items() if default is None and p not in options]
    if missing:
        return ev.error("VFL0107", f"`{name.name}` needs `{missing[0]}`", call.span)
    if ev.record(SCHEDULES, name.name, call.span, lambda found: found.check(options)) is None:
        return POISON
    return {"schedule": name.name, "options": options}


def _unique_ids(rules: list[OptimizerRule]) -> tuple[OptimizerRule, ...]:
    seen: dict[str, int] = {}
    result: list[OptimizerRule] = []
    for rule in rules:
        seen[rule.name] = count = seen.get(rule.name, 0) + 1
        rule_id = rule.name if count == 1 else f"{rule.name}_{count}"
        result.append(OptimizerRule(rule_id, rule.name, rule.options, rule.patterns, rule.span))
    return tuple(result)
