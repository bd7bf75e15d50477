"""What an expression may be worth while a spec is lowered, and the scopes that names live in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, field
from vflc_common.encoder import IDS

from vflc.diagnostics import DiagnosticCollector, RelatedSpan, Span
from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ir.outside import OutsideModel
from vflc.syntax import tree

if TYPE_CHECKING:
    from vflc.onnx_file import Numbers


class Poison:
    """Stands for a value whose computation was a mistake already reported; silences what follows."""

    def __repr__(self) -> str:
        return "POISON"


POISON = Poison()
"""What to do about an extension that cannot be used."""


class Record(Struct):
    """`{first = …, deep = …}`, or what a block returned."""

    fields: dict[str, Any]


class PartyValue(Struct):
    """A party's name used as a value: `alice.features`, `alice.Age`.

    `plain` are columns that are only computed with, `broken` those with a mistake in them, reported
    where they are declared.
    """

    name: str
    features: dict[str, Node]
    labels: dict[str, Node]
    weights: dict[str, Node]
    plain: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()


class BlockValue(Struct, frozen=True):
    """A block and the module that its free names belong to."""

    block: tree.Block
    module: Scope


ABSENT = "there is no file"
NO_FOLDER = "a spec given as text cannot use files"
"""How the reasons begin for which a file is not here, though another party may have it."""


class FileWeights(Struct, frozen=True):
    """What the weights of a block are whose text was made of a file.

    Args:
        path, sha256: of the file.
        numbers: those of the file by the weights' names below the use of the block.
        trainable: whether training changes them.
    """

    path: str
    sha256: str
    numbers: Mapping[str, Numbers]
    trainable: bool


class OutsideValue(Struct, frozen=True):
    """A block that is a file of another tool; `span` is where it is declared.

    It runs as it is, or as the `block` that was written for it, with these `weights`.
    """

    name: str
    span: Span
    model: OutsideModel
    block: BlockValue | None = None
    weights: FileWeights | None = None


class LazyValue(Struct, eq=False):
    """A name and its value, computed when first needed."""

    name: str
    span: Span
    expr: tree.Expr | None
    place: str | None
    value: Any = None
    state: str = "waiting"

    @classmethod
    def known(cls, name: str, span: Span, value: Any) -> LazyValue:
        return cls(name, span, None, None, value, "done")


class Scope(Struct, eq=False):
    """Names of a module, of one use of a block, or of one turn of a comprehension.

    Args:
        path: prefix of the names of values and weights made here.
        parent: where names that are not here are looked up.
    """

    path: tuple[str, ...] = ()
    parent: Scope | None = None
    names: dict[str, LazyValue] = field(default_factory=dict)

    def find(self, name: str) -> tuple[LazyValue, Scope] | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name], scope
            scope = scope.parent
        return None

    def visible(self) -> list[str]:
        scope: Scope | None = self
        found: list[str] = []
        while scope is not None:
            found.extend(scope.names)
            scope = scope.parent
        return found


class Evaluating(Protocol):
    """What helpers of the evaluator ask of it."""

    build: Build
    collector: DiagnosticCollector

    def evaluate(self, expr: tree.Expr, scope: Scope, direct: bool = False) -> Any: ...

    def force(self, bound: LazyValue, scope: Scope) -> Any: ...

    def op(self, name: str, span: Span, *arguments: Any, **named: Any) -> Any: ...

    def error(
        self, code: str, message: str, span: Span, help: str | None = None, *labels: RelatedSpan
    ) -> Poison: ...


def describe(value: Any) -> str:
    """A value's kind in a user's words."""
    match value:
        case Node(op="feature") if value.attrs["kind"] in IDS:
            return f"the categorical feature {value.id}"
        case Node():
            return f"a value of shape {value.type}"
        case bool():
            return "a truth value"
        case int() | float():
            return f"the number {value}"
        case str():
            return f'the text "{value}"'
        case list():
            return f"a list of {len(value)}"
        case Record():
            return f"a record of {', '.join(value.fields)}"
        case PartyValue():
            return f"the party {value.name}"
        case BlockValue():
            return f"the block {value.block.name.text}"
        case OutsideValue():
            return f"the block {value.name}"
        case _:
            return "nothing"
