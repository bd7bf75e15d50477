"""Calls: arguments matched to parameters, for functions of the registry and for blocks."""

from __future__ import annotations

from typing import Any

from vflc_common.plugins import MEND, BrokenPlugin

from vflc.diagnostics import RelatedSpan
from vflc.diagnostics.suggest import did_you_mean
from vflc.ops import FUNCTIONS, PLUGINS, find_function, known_functions
from vflc.ops.convolution import PADDING
from vflc.ops.embedding import COMBINERS
from vflc.ops.layers import ACTIVATIONS, INITS
from vflc.ops.registry import REQUIRED, Function, FunctionParameter
from vflc.passes.lower import foreign
from vflc.passes.lower.arguments import coerce
from vflc.passes.lower.blocks import use_block
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.static import STATIC, call_static
from vflc.passes.lower.values import (
    POISON,
    BlockValue,
    LazyValue,
    OutsideValue,
    Poison,
    Scope,
    describe,
)  # fmt: skip
from vflc.syntax import tree

OPTIONS = frozenset((*FUNCTIONS, *ACTIVATIONS, *COMBINERS, *INITS, *PADDING)) - {"none"}
"""Words that a block passes on to functions as they are."""


def call(ev: Evaluator, expr: tree.Call, scope: Scope, direct: bool) -> Any:
    """The value of a call; see `Evaluator.evaluate`."""
    if isinstance(expr.function, tree.Ref):
        found = scope.find(expr.function.name)
        value = ev.force(*found) if found else None
        if isinstance(value, BlockValue):
            return _call_block(ev, value, expr, scope, direct)
        if isinstance(value, OutsideValue):
            from vflc.passes.lower.outside import call_outside  # few specs need it

            return call_outside(ev, value, expr, scope, direct)
        if expr.function.name in STATIC:
            answered, result = call_static(ev, expr.function.name, expr, scope, direct)
            if answered:
                return result
        try:
            function = find_function(expr.function.name)
        except BrokenPlugin as broken:
            return ev.error("VFL0695", broken.message, expr.function.span, MEND)
        if function is not None:
            if function.name in PLUGINS:
                ev.plugins.setdefault(PLUGINS[function.name], expr.span)
            return _call_function(ev, function, expr, scope)
        if isinstance(value, Poison):
            return POISON
        if found is None:
            return _unknown(ev, expr.function, scope)
    else:
        value = ev.evaluate(expr.function, scope)
    if isinstance(value, Poison):
        return POISON
    return ev.error("VFL0106", f"{describe(value)} cannot be called", expr.function.span)


def _unknown(ev: Evaluator, name: tree.Ref, scope: Scope) -> Poison:
    near = did_you_mean(name.name, [*known_functions(), *STATIC, *scope.visible()])
    help = foreign.instead(foreign.FUNCTIONS, name.name) or (
        f"did you mean `{near}`?" if near else "to use a library block, import it first: use recsys.{DeepFM}"
    )
    return ev.error("VFL0106", f"unknown function or block `{name.name}`", name.span, help)


# --- blocks -----------------------------------------------------------------------------------


def _call_block(ev: Evaluator, value: BlockValue, expr: tree.Call, scope: Scope, direct: bool) -> Any:
    return use_block(ev, value, expr, direct, lambda inner: _bind_block(ev, value.block, expr, scope, inner))


def _by_position(expr: tree.Call, block: tree.Block, name: str) -> str | None:
    """What to say where a parameter has an argument by its position already."""
    names = [parameter.name.text for parameter in block.parameters]
    taken = expr.arguments[min(names.index(name), len(expr.arguments) - 1)]
    if taken.name is not None:
        return None
    return f"`{taken.span.text}` is `{name}` by its position: the arguments are {', '.join(names)}"


def _bind_block(ev: Evaluator, block: tree.Block, expr: tree.Call, scope: Scope, inner: Scope) -> bool:
    """Puts the arguments into `inner`; False where one is missing or wrong."""
    parameters = {p.name.text: p for p in block.parameters}
    given: dict[str, Any] = {}
    for position, argument in enumerate(expr.arguments):
        if argument.name is None and position >= len(block.parameters):
            ev.error(
                "VFL0107",
                f"`{block.name.text}` takes {len(parameters)} arguments",
                argument.span,
                f"its arguments are {', '.join(parameters) or 'none'}",
            )
            return False
        name = argument.name.text if argument.name else block.parameters[position].name.text
        if name not in parameters:
            assert argument.name
            return _no_argument(ev, block.name.text, argument.name, list(parameters))
        if name in given:
            ev.error("VFL0107", f"`{name}` is given twice", argument.span, _by_position(expr, block, name))
            return False
        given[name] = _option_or_value(ev, argument.value, scope)
    for name, parameter in parameters.items():
        if name not in given:
            if parameter.default is None:
                ev.error(
                    "VFL0107",
                    f"`{block.name.text}` needs `{name}`",
                    expr.span,
                    None,
                    RelatedSpan(parameter.span, "declared here"),
                )
                return False
            given[name] = _option_or_value(ev, parameter.default, inner)
        inner.names[name] = LazyValue.known(name, parameter.name.span, given[name])
    return not any(isinstance(value, Poison) for value in given.values())


def _option_or_value(ev: Evaluator, expr: tree.Expr, scope: Scope) -> Any:
    """A bare name of an option that functions take is one: `activation = relu`, `init = zeros`."""
    if isinstance(expr, tree.Ref) and scope.find(expr.name) is None and expr.name in OPTIONS:
        return expr.name
    if isinstance(expr, tree.Ref) and expr.name == "none" and scope.find("none") is None:
        return None
    return ev.evaluate(expr, scope)


def _no_argument(ev: Evaluator, callee: str, name: tree.Name, known: list[str]) -> bool:
    near = did_you_mean(name.text, known)
    help = f"did you mean `{near}`?" if near else f"it has {', '.join(known)}"
    help = foreign.instead(foreign.ARGUMENTS, name.text) or help
    ev.error("VFL0107", f"`{callee}` has no argument `{name.text}`", name.span, help)
    return False


# --- functions --------------------------------------------------------------------------------


def _call_function(ev: Evaluator, function: Function, expr: tree.Call, scope: Scope) -> Any:
    names = [p.name for p in function.parameters]
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for position, argument in enumerate(expr.arguments):
        parameter = _parameter_for(function, position, argument)
        if parameter is None:
            if argument.name is not None:
                _no_argument(ev, function.name, argument.name, names)
            else:
                ev.error(
                    "VFL0107",
                    f"`{function.name}` takes {len(names)} arguments",
                    argument.span,
                    f"its arguments are {', '.join(names)}",
                )
            return POISON
        if parameter.name in named:
            return ev.error("VFL0107", f"`{parameter.name}` is given twice", argument.span)
        value = coerce(ev, function, parameter, argument.value, scope)
        if parameter.variadic:
            positional.extend(value if isinstance(value, list) else [value])
        else:
            named[parameter.name] = value
    for parameter in function.parameters:
        absent = not positional if parameter.variadic else parameter.name not in named
        if absent and (parameter.variadic or parameter.default is REQUIRED):
            return ev.error(
                "VFL0107", f"`{function.name}` needs `{parameter.name}`", expr.span, _usage(function)
            )
    if any(isinstance(value, Poison) for value in (*positional, *named.values())):
        return POISON
    before = [named.pop(p.name) for p in _before_variadic(function)] if positional else []
    return ev.op(function.name, expr.span, *before, *positional, **named)


def _before_variadic(function: Function) -> list[FunctionParameter]:
    index = next(i for i, p in enumerate(function.parameters) if p.variadic)
    return list(function.parameters[:index])


def _parameter_for(function: Function, position: int, argument: tree.Argument) -> FunctionParameter | None:
    if argument.name is not None:
        return next((p for p in function.parameters if p.name == argument.name.text and not p.variadic), None)
    for index, parameter in enumerate(function.parameters):
        if parameter.variadic or index == position:
            return parameter
    return None


def _usage(function: Function) -> str:
    parts = [
        f"{p.name}, …"
        if p.variadic
        else p.name
        if p.default is REQUIRED
        else f"{p.name} = {_shown(p.default)}"
        for p in function.parameters
    ]
    return f"write {function.name}({', '.join(parts)})"


def _shown(default: Any) -> str:
    return "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
