"""Blocks: what they give for a call, their bindings in a scope of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vflc.diagnostics import RelatedSpan
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.values import POISON, BlockValue, LazyValue, Scope
from vflc.syntax import tree

DEEPEST = 64
"""Blocks that use blocks."""


def use_block(
    ev: Evaluator, value: BlockValue, expr: tree.Call, direct: bool, bind: Callable[[Scope], bool]
) -> Any:
    """What a block gives for a call; `bind` puts its arguments into the scope of this use, and may refuse."""
    block = value.block
    if id(block) in ev.endless:
        return POISON
    if len(ev.active) > DEEPEST:
        ev.endless.add(id(block))
        if id(block) not in ev.active:
            message = f"at `{block.name.text}`, blocks are nested more than {DEEPEST} levels deep"
            return ev.error("VFL0206", message, expr.span, "nest fewer blocks")
        message = f"block `{block.name.text}` uses itself without end"
        help = "give it a number that counts down: where(n == 0, x, …)"
        return ev.error("VFL0103", message, expr.span, help)
    label = None if direct else ev.build.fresh(block.name.text).split(".")[-1]
    path = ev.build.scope if label is None else (*ev.build.scope, label)
    inner = Scope(path, value.module)
    if not bind(inner):
        return POISON
    for binding in block.body:
        name = binding.name.text
        if name in inner.names:
            ev.error(
                "VFL0102",
                f"`{name}` is bound twice in this block",
                binding.name.span,
                None,
                RelatedSpan(inner.names[name].span, "first here"),
            )
            continue
        place = binding.at.text if binding.at else ev.build.place
        inner.names[name] = LazyValue(name, binding.name.span, binding.value, place)
    ev.active.append(id(block))
    with ev.build.within(scope=path, span=ev.at(expr.span)):
        for bound in list(inner.names.values()):
            ev.force(bound, inner)
        result = ev.evaluate(block.result, inner, direct=True)
    ev.active.pop()
    return result
