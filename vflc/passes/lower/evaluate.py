"""Evaluates expressions of the tree: numbers and lists at once, graph values by adding nodes.

Bindings are computed when first needed, so the order of statements does not matter. A mistake
is reported once and turns into `POISON`, which silences everything computed from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct, field
from vflc_common.plugins import MEND, BrokenPlugin, Named, Plugin, Records

from vflc.diagnostics import DiagnosticCollector, RelatedSpan, Span
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.budget import TooLarge
from vflc.ir.build import Build
from vflc.ir.graph import PLACELESS, Node
from vflc.ops import FUNCTIONS, expand
from vflc.ops.registry import OpError
from vflc.ops.source import COLUMNS
from vflc.passes.lower import access, operators
from vflc.passes.lower.values import (
    POISON,
    LazyValue,
    Poison,
    Record,
    Scope,
    describe,
)
from vflc.syntax import tree

T = TypeVar("T", bound=Named)
MOST_STEPS = 100_000
"""Expressions evaluated, each as often as blocks and comprehensions repeat it."""


class Stop(Exception):
    """Lowering cannot go on; the reason has been reported."""


class Evaluator(Struct):
    """Computes bindings and expressions into `build`'s graph."""

    build: Build
    collector: DiagnosticCollector
    call: Callable[[Evaluator, tree.Call, Scope, bool], Any]
    aliases: dict[str, str] = field(default_factory=dict)
    active: list[int] = field(default_factory=list)
    """Blocks whose use is being evaluated, by identity, the innermost last."""
    steps: int = 0
    columns: int = 0
    endless: set[int] = field(default_factory=set)
    """Blocks that use themselves without end, by identity: reported once, and not entered again."""
    plugins: dict[Plugin, Span] = field(default_factory=dict)
    """What the spec uses of other packages, and where first."""
    _busy: list[LazyValue] = field(default_factory=list)
    _named: set[str] = field(default_factory=set)

    @property
    def innermost(self) -> Span | None:
        """Where the binding that is computed now stands."""
        return self._busy[-1].span if self._busy else None

    def error(
        self, code: str, message: str, span: Span, help: str | None = None, *labels: RelatedSpan
    ) -> Poison:
        shown = self.at(span)
        if shown is not span:
            labels = (*labels, RelatedSpan(span, "in this block of the library"))
        self.collector.error(code, message, shown, help, *labels)
        if self.collector.full:
            raise Stop
        return POISON

    def at(self, span: Span) -> Span:
        """Where a user looks: for text of a block of the library, the place that uses the block."""
        return self.build.span if span.source.library and self.build.span is not None else span

    def record(
        self, records: Records[T], name: str, span: Span, check: Callable[[T], None] = lambda record: None
    ) -> T | None:
        """A record that there is; None after a report that its check, or another package, fails."""
        try:
            with records.using(name, OpError) as found:
                check(found)
            if (plugin := records.plugin(name)) is not None:
                self.plugins.setdefault(plugin, span)
            return found
        except BrokenPlugin as broken:
            self.error("VFL0695", broken.message, span, MEND)
        except OpError as refused:
            self.error(refused.code, refused.message, span, refused.help)
        return None

    def op(self, name: str, span: Span, *arguments: Any, **named: Any) -> Any:
        """Calls a function of the registry, turning a refusal into a diagnostic at `span`."""
        return self.made(span, lambda: expand(name, self.build, *arguments, **named))

    def made(self, span: Span, make: Callable[[], Any]) -> Any:
        """What `make` adds to the graph, a refusal turned into a diagnostic at `span`."""
        try:
            with self.build.within(span=self.at(span)):
                return make()
        except BrokenPlugin as broken:
            return self.error("VFL0695", broken.message, span, MEND)
        except OpError as refused:
            return self.error(refused.code, refused.message, span, refused.help)
        except TooLarge as refused:
            self.error("VFL0206", refused.message, self.at(span), refused.help)
            raise Stop from None

    # --- names ------------------------------------------------------------------------------

    def force(self, bound: LazyValue, scope: Scope) -> Any:
        """The value of a binding, computed on first use."""
        if bound.state == "done":
            return bound.value
        if bound.state == "busy":
            circle = self._busy[self._busy.index(bound) :]
            labels = [RelatedSpan(other.span, f"{other.name} depends on it") for other in circle[1:]]
            self.error(
                "VFL0103",
                f"`{bound.name}` is defined in terms of itself",
                bound.span,
                "break the cycle: " + " → ".join([b.name for b in circle] + [bound.name]),
                *labels,
            )
            return POISON
        self.collector.going()
        bound.state = "busy"
        self._busy.append(bound)
        path = (*scope.path, bound.name)
        assert bound.expr is not None
        with self.build.within(scope=path, place=bound.place, span=self.at(bound.expr.span)):
            value = self.moved(self.evaluate(bound.expr, scope, direct=True))
            self.name(value, path)
        self._busy.pop()
        bound.value, bound.state = value, "done"
        return value

    def moved(self, value: Any) -> Any:
        """A value of the graph at the place that is demanded: `x = y at hub` brings `y` there."""
        place = self.build.place
        if not isinstance(value, Node) or place in (None, value.place):
            return value
        if value.op in PLACELESS | COLUMNS or value.op == "weight":
            return value  # what is fed lies where it lies
        return self.build.op("rename", value, names=tuple(axis.name for axis in value.type.axes))

    def name(self, value: Any, path: tuple[str, ...]) -> None:
        """Gives a value made under `path` that path as its id (when lowering ends).

        A block that ends in another block shares its path with it: the first to bind a name has it.
        """
        name = ".".join(path)
        if (
            isinstance(value, Node)
            and value.id.startswith(name + ".")
            and value.id not in self.aliases
            and name not in self._named
        ):
            self.aliases[value.id] = name
            self._named.add(name)

    def number(self, expr: tree.Expr, scope: Scope, what: str) -> int | float | Poison:
        value = self.evaluate(expr, scope)
        if isinstance(value, Poison) or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return value
        return self.error("VFL0203", f"{what} must be a number; this is {describe(value)}", expr.span)

    # --- expressions ------------------------------------------------------------------------

    def evaluate(self, expr: tree.Expr, scope: Scope, direct: bool = False) -> Any:
        """The value of `expr`; `direct` where it is all of a binding, whose name then names it."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            help = "look for blocks and comprehensions that multiply"
            self.error(
                "VFL0206", f"the spec has more than {MOST_STEPS:,} expressions to evaluate", expr.span, help
            )
            raise Stop
        match expr:
            case tree.Number() | tree.String() | tree.Bool():
                return operators.bounded(self, expr.value, expr.span)
            case tree.Ref():
                return self._ref(expr, scope)
            case tree.Attribute():
                return access.attribute(self, expr, scope)
            case tree.Family():
                return access.family(self, expr, scope)
            case tree.Call():
                return self.call(self, expr, scope, direct)
            case tree.Unary():
                return operators.unary(self, expr, scope)
            case tree.Binary():
                return operators.binary(self, expr, scope)
            case tree.Index():
                return access.index_of(self, expr, scope)
            case tree.Range():
                return self._range(expr, scope)
            case tree.Grouped():
                help = "write it after a metric: metrics gauc by UserID"
                return self.error("VFL0203", "`by` says how a metric groups the rows", expr.span, help)
            case tree.ListOf():
                return self._list(expr, scope)
            case tree.Comprehension():
                return self._comprehension(expr, scope)
            case tree.RecordOf():
                return self._record(expr, scope)

    def _ref(self, expr: tree.Ref, scope: Scope) -> Any:
        found = scope.find(expr.name)
        if found:
            return self.force(*found)
        if expr.name in FUNCTIONS:
            return self.error(
                "VFL0203", f"`{expr.name}` is a function", expr.span, f"call it: {expr.name}(…)"
            )
        help = did_you_mean(expr.name, scope.visible())
        return self.error(
            "VFL0101", f"unknown name `{expr.name}`", expr.span, f"did you mean `{help}`?" if help else None
        )

    def _range(self, expr: tree.Range, scope: Scope) -> Any:
        low, high = (self.number(end, scope, "an end of a range") for end in (expr.low, expr.high))
        if isinstance(low, Poison) or isinstance(high, Poison):
            return POISON
        if not (isinstance(low, int) and isinstance(high, int)):
            return self.error("VFL0205", "the ends of a range must be whole numbers", expr.span)
        if high - low >= operators.MOST_ITEMS:
            return self.error("VFL0206", f"a range has at most {operators.MOST_ITEMS:,} items", expr.span)
        return list(range(low, high + 1))

    def _list(self, expr: tree.ListOf, scope: Scope) -> Any:
        items: list[Any] = []
        for item in expr.items:
            value = self.evaluate(item, scope)
            if isinstance(item, tree.Range) and isinstance(value, list):
                items.extend(value)
            else:
                items.append(value)
            if len(items) > operators.MOST_ITEMS:
                return operators.bounded(self, items, expr.span)
        return POISON if any(isinstance(item, Poison) for item in items) else items

    def _comprehension(self, expr: tree.Comprehension, scope: Scope) -> Any:
        values = self.evaluate(expr.iterable, scope)
        if isinstance(values, Poison):
            return POISON
        if not isinstance(values, list):
            return self.error(
                "VFL0203", f"`for` needs a list; this is {describe(values)}", expr.iterable.span
            )
        results: list[Any] = []
        for turn, value in enumerate(values):
            label = str(value) if isinstance(value, (int, str)) else str(turn)
            name = expr.variable.text
            inner = Scope(scope.path, scope, {name: LazyValue.known(name, expr.variable.span, value)})
            with self.build.within(scope=(*self.build.scope, label)):
                keep = True if expr.condition is None else self.evaluate(expr.condition, inner)
                if keep is True:
                    results.append(self.evaluate(expr.body, inner, direct=True))
                elif keep is not False and not isinstance(keep, Poison):
                    assert expr.condition
                    return self.error(
                        "VFL0203",
                        f"a condition must be true or false; this is {describe(keep)}",
                        expr.condition.span,
                    )
            if results and isinstance(results[-1], Poison):
                return POISON
        return results

    def _record(self, expr: tree.RecordOf, scope: Scope) -> Any:
        fields: dict[str, Any] = {}
        for item in expr.fields:
            path = (*self.build.scope, item.name.text)
            with self.build.within(scope=path, span=self.at(item.value.span)):
                fields[item.name.text] = value = self.evaluate(item.value, scope, direct=True)
                self.name(value, path)
        return Record(fields)
