"""Evaluates a label's or feature's expression over Arrow columns.

Arithmetic is done in float64; comparing integers with integers is exact. A missing value in gives
a missing value out (`and` and `or` know better where the other side decides), and so do a division
by zero and a result that is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
from vflc_common.expressions import BETWEEN, EXACT, ExpressionTree
from vflc_common.text import text

from vflc_runtime.errors import Failure, Where


def evaluate(
    tree: ExpressionTree, values: Mapping[str, pa.Array], rows: int, where: Where | None = None
) -> pa.Array:
    """The value of an expression in each row, [rows]: string, int64, double or bool.

    Args:
        tree: the expression.
        values: the columns it reads, of equal length.
        rows: their length.
        where: the expression's place in the spec, for messages.

    Raises:
        Failure: VFL0603 where text is used as a number.
    """
    try:
        return _evaluate(tree, values, rows)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise Failure(
            "VFL0603",
            f"an expression uses text as a number, or a number as text: {error}",
            "compare text with text and numbers with numbers",
            where,
        ) from None


def _evaluate(tree: ExpressionTree, values: Mapping[str, pa.Array], rows: int) -> pa.Array:
    if "column" in tree:
        return values[tree["column"]]
    if "number" in tree:
        return pa.repeat(pa.scalar(tree["number"]), rows)
    if "string" in tree:
        return pa.repeat(pa.scalar(text(tree["string"]), pa.string()), rows)
    arguments = [_evaluate(argument, values, rows) for argument in tree["args"]]
    if "call" in tree:
        return CALLS[tree["call"]](*arguments)
    return OPERATORS[tree["op"]](*arguments)


def _double(array: pa.Array) -> pa.Array:
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        raise pa.ArrowInvalid("text in arithmetic")
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int64())
    return array.cast(pa.float64(), safe=False)


def _truth(array: pa.Array) -> pa.Array:
    return array if pa.types.is_boolean(array.type) else pc.not_equal(_double(array), 0.0)


def _where(condition: pa.Array, array: pa.Array) -> pa.Array:
    """The array, missing where the condition does not hold."""
    return pc.if_else(condition, array, pa.scalar(None, array.type))


def _finite(array: pa.Array) -> pa.Array:
    return _where(pc.is_finite(array), array)


def _numeric(function: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
    return lambda *arguments: _finite(function(*(_double(a) for a in arguments)))


def _divide(a: pa.Array, b: pa.Array) -> pa.Array:
    return pc.divide(a, _where(pc.not_equal(b, 0.0), b))


def _floor_divide(a: pa.Array, b: pa.Array) -> pa.Array:
    return pc.floor(_divide(a, b))


def _remainder(a: pa.Array, b: pa.Array) -> pa.Array:
    return pc.subtract(a, pc.multiply(b, _floor_divide(a, b)))


def _round(a: pa.Array) -> pa.Array:
    return pc.round(a, round_mode="half_to_even")


def _compare(function: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
    def compare(a: pa.Array, b: pa.Array) -> pa.Array:
        if pa.types.is_boolean(a.type) != pa.types.is_boolean(b.type):
            a, b = _double(a), _double(b)
        if pa.types.is_string(a.type) != pa.types.is_string(b.type):
            raise pa.ArrowInvalid("text compared with a number")
        return function(a, b)

    return compare


def _cross(*arguments: pa.Array) -> pa.Array:
    """Texts of each row [rows], joined; a computed number is one as long as a double holds it exactly."""
    texts = [_whole(each) if pa.types.is_floating(each.type) else each for each in arguments]
    return pc.binary_join_element_wise(
        *(each.cast(pa.string()) for each in texts), BETWEEN, null_handling="emit_null"
    )


def _whole(numbers: pa.Array) -> pa.Array:
    return _where(pc.less(pc.abs(numbers), EXACT), numbers).cast(pa.int64())


OPERATORS: dict[str, Callable[..., pa.Array]] = {
    "+": _numeric(pc.add),
    "-": _numeric(pc.subtract),
    "*": _numeric(pc.multiply),
    "/": _numeric(_divide),
    "//": _numeric(_floor_divide),
    "%": _numeric(_remainder),
    "**": _numeric(pc.power),
    "neg": _numeric(pc.negate),
    "==": _compare(pc.equal),
    "!=": _compare(pc.not_equal),
    "<": _compare(pc.less),
    "<=": _compare(pc.less_equal),
    ">": _compare(pc.greater),
    ">=": _compare(pc.greater_equal),
    "and": lambda a, b: pc.and_kleene(_truth(a), _truth(b)),
    "or": lambda a, b: pc.or_kleene(_truth(a), _truth(b)),
    "not": lambda a: pc.invert(_truth(a)),
}
CALLS: dict[str, Callable[..., pa.Array]] = {
    "floor": _numeric(pc.floor),
    "abs": _numeric(pc.abs),
    "log": _numeric(pc.ln),
    "exp": _numeric(pc.exp),
    "sqrt": _numeric(pc.sqrt),
    "round": _numeric(_round),
    "lower": pc.utf8_lower,
    "cross": _cross,
    "strip": pc.utf8_trim_whitespace,
    "is_missing": pc.is_null,
}
