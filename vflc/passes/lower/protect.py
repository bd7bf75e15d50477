"""`protect TARGET with MECHANISM(…)`: the mechanism by name, its options one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vflc_common.codecs import CODECS
from vflc_common.plugins import entry_points, plugin

from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.release import Protection
from vflc.ops import OpError
from vflc.ops.mechanisms import MECHANISMS, suggested
from vflc.ops.protection import Mechanism, Option, check_foreign
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.targets import IdsOfValue, lower_target, lower_weights
from vflc.passes.lower.values import Poison, Scope, describe
from vflc.syntax import tree


def lower_protect(
    ev: Evaluator, item: tree.Protect, scope: Scope, places: tuple[str, ...], ids: IdsOfValue, number: int
) -> Protection | None:
    """The protection, the `number`th of the spec; None after a mistake, which is reported."""
    expr = item.mechanism
    name = expr.function if isinstance(expr, tree.Call) else expr
    if not isinstance(name, tree.Ref) or name.name not in MECHANISMS:
        text = name.name if isinstance(name, tree.Ref) else ""
        near = did_you_mean(text, MECHANISMS.names())
        help = f"did you mean `{near}`?" if near else f"use one of: {', '.join(MECHANISMS.names())}"
        ev.error(
            "VFL0332",
            f"there is no mechanism `{text}`" if text else "this is not a mechanism",
            expr.span,
            help,
        )
        return None
    mechanism = ev.record(MECHANISMS, name.name, name.span)
    if mechanism is None:
        return None
    options = _options(ev, mechanism, expr, scope)
    if not _fits(ev, mechanism, item):
        return None
    if isinstance(item.target, tree.WeightsTarget):
        target = lower_weights(ev, item.target, places)
    else:
        target = lower_target(ev, item.target, scope, places, ids)
    if options is None or target is None or not _is_limited_well(ev, mechanism, options, item):
        return None
    training = item.phase is not None
    return Protection(f"protect_{number}", target, mechanism.name, options, item.span, training)


def _is_limited_well(
    ev: Evaluator, mechanism: Mechanism, options: dict[str, Any], item: tree.Protect
) -> bool:
    """Whether `in training` stands only where there is noise outside of training that it takes away."""
    phase = item.phase
    if phase is None:
        return True
    message, help = (
        f"a protection cannot be limited to `{phase.text}`",
        "only noise can be limited, with `in training`",
    )
    if phase.text == "training" and "passes" not in mechanism.options:
        message = f"`{mechanism.name}` cannot be limited to training"
        noise = " or ".join(f"`{each.name}`" for each in MECHANISMS if each.passes is not None)
        help = f"remove `in training`: only {noise} on an activation adds noise in all phases"
    elif phase.text == "training" and options["passes"] is not None:
        message = "`passes` are for evaluation and prediction, but with `in training` these have no noise"
        help = "remove one of the two"
    elif phase.text == "training":
        return True
    ev.error("VFL0347", message, phase.span, help)
    return False


def _fits(ev: Evaluator, mechanism: Mechanism, item: tree.Protect) -> bool:
    """Whether weights are protected by a mechanism for weights, and nothing else is."""
    if isinstance(item.target, tree.WeightsTarget) == (mechanism.role == "weights"):
        return True
    what = " and ".join(sorted(mechanism.applies))
    help = f"as in: protect weights at PARTY with {suggested('weights', 8)}"
    ev.error("VFL0333", f"`{mechanism.name}` is for {what}; these are {_not(item)}", item.span, help)
    return False


def _not(item: tree.Protect) -> str:
    return "weights" if isinstance(item.target, tree.WeightsTarget) else "none"


def _options(ev: Evaluator, mechanism: Mechanism, expr: tree.Expr, scope: Scope) -> dict[str, Any] | None:
    known, given = list(mechanism.options), dict[str, Any]()
    for position, argument in enumerate(expr.arguments if isinstance(expr, tree.Call) else ()):
        name = argument.name.text if argument.name else known[position] if position < len(known) else ""
        if name not in known or name in given:
            twice = f"`{name}` is given twice"
            text = twice if name in given else f"`{mechanism.name}` has no option `{name}`"
            near = did_you_mean(name, known)
            help = f"did you mean `{near}`?" if near else f"it has {', '.join(known) or 'none'}"
            ev.error("VFL0332", text, argument.span, help)
            return None
        option = mechanism.options[name]
        word = argument.value.name if isinstance(argument.value, tree.Ref) else ""
        value = word if word in option.words else ev.evaluate(argument.value, scope)
        if isinstance(value, Poison):
            return None
        if ev.record(MECHANISMS, mechanism.name, argument.span, _accepts(name, option, value)) is None:
            return None
        given[name] = value
    missing = [name for name, option in mechanism.options.items() if option.required and name not in given]
    if missing:
        wanted = f"give {mechanism.options[missing[0]].wanted}"
        ev.error("VFL0332", f"`{mechanism.name}` needs `{missing[0]}`", expr.span, wanted)
        return None
    filled = mechanism.filled(given)
    ours = mechanism.name in MECHANISMS.ours

    def check(found: Mechanism) -> None:
        found.check(filled)
        if not ours:
            check_foreign(found, filled)

    if ev.record(MECHANISMS, mechanism.name, expr.span, check) is None:
        return None
    if mechanism.solver is not None and not ours:
        ev.plugins.setdefault(plugin("solvers", entry_points("vflc.solvers")[mechanism.solver][0]), expr.span)
    if mechanism.packs is not None and ev.record(CODECS, mechanism.packs.codec, expr.span) is None:
        return None
    return filled


def _accepts(name: str, option: Option, value: Any) -> Callable[[Mechanism], None]:
    def check(mechanism: Mechanism) -> None:
        if not option.check(value):
            raise OpError(f"`{name}` must be {option.wanted}; this is {describe(value)}", None, "VFL0205")

    return check
