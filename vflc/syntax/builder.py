"""Statements, from the parser's reductions to the tree: one method a rule of `vfl.lark`."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from vflc_common.text import is_name, quote

from vflc.diagnostics import RelatedSpan, Span
from vflc.diagnostics.diagnostic import ANYTHING
from vflc.syntax import tree
from vflc.syntax.expressions import Expressions, FamilyNumbers, members
from vflc.syntax.lalr import Token
from vflc.syntax.names import identifier

_Leaf = (
    tree.Import
    | tree.Column
    | tree.Binding
    | tree.Outside
    | tree.Predict
    | tree.Objective
    | tree.Setting
    | tree.Protect
    | tree.Accept
)


class Dropped(Struct, frozen=True):
    """Stands for a statement that cannot be in the tree."""

    span: Span


class _Key(Struct, frozen=True):
    names: tuple[tree.Name, ...]
    span: Span


class _Many(Struct, frozen=True):
    """`rows per key many`; `name` is the last word, with the span of all."""

    name: tree.Name


class _Missing(Struct, frozen=True):
    """`missing party allowed`."""

    span: Span


class _Alias(Struct, frozen=True):
    """`as NAME`, after a column's type."""

    name: tree.Name
    span: Span


class _Result(Struct, frozen=True):
    value: tree.Expr
    span: Span


class Builder(Expressions):
    """All rules of the grammar; `begin` sets it afresh."""

    def _leaf(self, node: _Leaf, *names: str) -> _Leaf | Dropped:
        """Drops a statement with damage in it: what else looks wrong may be that damage."""
        if not self._harmed(node.span):
            return node
        self.dropped.update(names)
        return Dropped(node.span)

    # --- parties --------------------------------------------------------------------------------

    def use(self, parts: list[Any]) -> _Leaf | Dropped:
        source, names = parts[1], tuple(self._names(parts[2:]))
        file = self.string([source]) if source.type == "STRING" else None
        library = None if file else self._name(source)
        return self._leaf(tree.Import(library, file, names, self._over(parts)), *(n.text for n in names))

    def party(self, parts: list[Any]) -> tree.Party:
        keys = [part for part in parts if isinstance(part, _Key)]
        for extra in keys[1:]:
            self._slip(
                "VFL0015",
                f"party `{parts[1]}` has a second key",
                extra.span,
                "a party has one key, on which its rows are matched with the other parties' rows; "
                "where several columns make it: key UserID, Day",
                RelatedSpan(keys[0].span, "the first one"),
            )
        columns = tuple(part for part in parts if isinstance(part, tree.Column))
        names = keys[0].names if keys else ()
        many = [part.name for part in parts if isinstance(part, _Many)]
        for repeated in many[1:]:
            said = f"party `{parts[1]}` says twice how many rows a key has"
            self._slip("VFL0015", said, repeated.span, "say it once", RelatedSpan(many[0].span, "first here"))
        return tree.Party(
            self._name(parts[1]),
            parts[0] == "population",
            names,
            many[0] if many else None,
            next((part.span for part in parts if isinstance(part, _Missing)), None),
            columns,
            self._over(parts),
        )

    def key(self, parts: list[Any]) -> _Key:
        named = [part for part in parts[1:] if part.type != "COMMA"]
        return _Key(tuple(map(self._column_name, named)), self._over(parts))

    def many(self, parts: list[Any]) -> _Many:
        due = (["per"], ["key"], ["one", "many"])
        for wrong in [word for word, words in zip(parts[1:], due, strict=True) if word not in words][:1]:
            help = "write `rows per key one` or `rows per key many`"
            self._slip("VFL0001", f"unexpected `{wrong}` after `rows`", self._at(wrong), help)
        return _Many(tree.Name(str(parts[3]), self._over(parts)))

    def missing(self, parts: list[Any]) -> _Missing:
        for wrong in [w for w, due in zip(parts[1:], ("party", "allowed"), strict=True) if w != due][:1]:
            help = "write `missing party allowed`"
            self._slip("VFL0001", f"unexpected `{wrong}` after `missing`", self._at(wrong), help)
        return _Missing(self._over(parts))

    def column(self, parts: list[Any]) -> _Leaf | Dropped:
        kind, called = str(parts[0]), self._column_name(parts[1])
        bounds = parts[2] if isinstance(parts[2], FamilyNumbers) else None
        rest = parts[3:] if bounds else parts[2:]
        encoders = tuple(part for part in rest if isinstance(part, tree.EncoderCall))
        typed = rest[0].type == "COLON"
        type_, value = (rest[1], None) if typed else (None, rest[1])
        alias = next((part for part in rest if isinstance(part, _Alias)), None)
        name = alias.name if alias else called
        self._check_name(kind, parts[1], called, bounds, alias, typed)
        family = (bounds.low, bounds.high) if bounds else None
        table = called.text if alias else None
        node = tree.Column(kind, name, family, type_, value, encoders, self._over(parts), table)
        return self._leaf(node, name.text, *(members(name.text, *family) if family else ()))

    def type(self, parts: list[Any]) -> tree.Name:
        """`float`, `vector(128)`, `list(int)`, `float(",")`: as text without blanks."""
        if len(parts) == 1:
            return self._name(parts[0])
        inside = str(parts[2])
        if parts[2].type == "NUMBER":
            inside = str(self.number(parts[2:3]).value)
        elif parts[2].type == "STRING":
            inside = quote(self.string(parts[2:3]).value)
        return tree.Name(f"{parts[0]}({inside})", self._over(parts))

    def alias(self, parts: list[Any]) -> _Alias:
        return _Alias(self._name(parts[1]), self._over(parts))

    def _column_name(self, token: Token) -> tree.Name:
        """What a table calls a column: a name, or any text in quotes."""
        if token.type == "NAME":
            return self._name(token)
        written = self.string([token])
        if not written.value:
            help = "write the name that the column has in the table"
            self._slip("VFL0018", "a column's name is empty", written.span, help)
        return tree.Name(written.value, written.span)

    def _check_name(
        self,
        kind: str,
        written: Token,
        called: tree.Name,
        bounds: FamilyNumbers | None,
        alias: _Alias | None,
        typed: bool,
    ) -> None:
        """A column has a name that the spec can speak of it by, and `as` is for one column of a table."""
        text = called.span.text
        if bounds and alias:
            help = "leave `as` out: the columns of a family are called as in the table"
            self._unnamed("VFL0019", "a family of columns cannot have another name", alias.span, help)
        elif not typed and written.type == "STRING":
            help = f"write a name: {kind} {identifier(called.text)} = …"
            self._unnamed("VFL0019", f"{text} = … is computed, and no table has it", called.span, help)
        elif alias is None and called.text and not is_name(called.text):
            help = f"give it one after its type: {kind} {text}: … as {identifier(called.text)}"
            self._unnamed("VFL0018", f"the spec has no name for the column {text}", called.span, help)

    def _unnamed(self, code: str, message: str, span: Span, help: str) -> None:
        """Notes a mistake in a name; nobody knows what the rest of the spec calls the column."""
        self._slip(code, message, span, help)
        self.dropped.add(ANYTHING)

    def encoder(self, parts: list[Any]) -> tree.EncoderCall:
        return tree.EncoderCall(self._name(parts[0]), self._given(parts), self._over(parts))

    def block(self, parts: list[Any]) -> tree.Block | Dropped:
        name, span = self._name(parts[1]), self._over(parts)
        doc = next((part.value for part in parts if isinstance(part, tree.String)), None)
        parameters = tuple(part for part in parts if isinstance(part, tree.BlockParameter))
        results = [part for part in parts if isinstance(part, _Result)]
        for extra in results[1:]:
            self._slip(
                "VFL0014",
                f"block `{name.text}` returns twice",
                extra.span,
                "return one value, or a record: `return {a = …, b = …}`",
                RelatedSpan(results[0].span, "the first one"),
            )
        if not results:
            self._slip("VFL0014", f"block `{name.text}` returns nothing", name.span, "end it with `return …`")
        spans = [part.span for part in parameters] + [part.span for part in results[:1]]
        if not results or any(map(self._harmed, spans)):
            self.dropped.add(name.text)
            return Dropped(span)
        body = tuple(part for part in parts if isinstance(part, tree.Binding))
        return tree.Block(name, parameters, body, results[0].value, doc, span)

    def outside(self, parts: list[Any]) -> _Leaf | Dropped:
        name, tool = self._name(parts[1]), self._name(parts[3])
        made = tree.Call(tree.Ref(tool.text, tool.span), self._given(parts[4:]), self._over(parts[3:]))
        return self._leaf(tree.Outside(name, made, self._over(parts)), name.text)

    def parameter(self, parts: list[Any]) -> tree.BlockParameter:
        default = parts[2] if len(parts) > 1 else None
        return tree.BlockParameter(self._name(parts[0]), default, self._over(parts))

    def result(self, parts: list[Any]) -> _Result:
        return _Result(parts[1], self._over(parts))

    def place(self, parts: list[Any]) -> tree.Name:
        return self._name(parts[1])

    def binding(self, parts: list[Any]) -> _Leaf | Dropped:
        scope = str(parts[0]) if parts[0].type == "SCOPE" else None
        name, _, value, *place = parts[1:] if scope else parts
        at = place[0] if place else None
        return self._leaf(tree.Binding(self._name(name), value, at, scope, self._over(parts)), str(name))

    def fuse(self, parts: list[Any]) -> tree.Fuse:
        body = tuple(part for part in parts if isinstance(part, tree.Binding))
        return tree.Fuse(parts[1], body, self._over(parts))

    def predict(self, parts: list[Any]) -> _Leaf | Dropped:
        bounds = parts[2] if isinstance(parts[2], FamilyNumbers) else None
        value, *rest = parts[4:] if bounds else parts[3:]
        place = next((part for part in rest if isinstance(part, tree.Name)), None)
        of = next((part for part in rest if not isinstance(part, tree.Name)), None)
        family = (bounds.low, bounds.high) if bounds else None
        node = tree.Predict(self._name(parts[1]), value, place, of, self._over(parts), family)
        return self._leaf(node, "predict")

    def of(self, parts: list[Any]) -> tree.Expr:
        column: tree.Expr = parts[1]
        return column

    def objective(self, parts: list[Any]) -> _Leaf | Dropped:
        return self._leaf(tree.Objective(parts[1], self._over(parts)), "objective")

    def train(self, parts: list[Any]) -> tree.Train:
        settings = tuple(part for part in parts if isinstance(part, tree.Setting))
        mode = self._name(parts[1]) if parts[1].type == "NAME" else None
        return tree.Train(mode, settings, self._over(parts))

    def schedule(self, parts: list[Any]) -> tree.ScheduleStatement:
        settings = tuple(part for part in parts if isinstance(part, tree.Setting))
        name = self._name(parts[1]) if parts[1].type == "NAME" else None
        return tree.ScheduleStatement(name, settings, self._over(parts))

    def setting(self, parts: list[Any]) -> _Leaf | Dropped:
        values = tuple(p for p in parts[1:] if not isinstance(p, Token | tree.Pattern))
        if parts[0].type == "DROP":
            values = (tree.Ref(str(parts[1]), self._at(parts[1])), *values)
        patterns = tuple(part for part in parts if isinstance(part, tree.Pattern))
        condition = any(isinstance(part, Token) and part.type == "WHERE" for part in parts)
        node = tree.Setting(self._name(parts[0]), values, patterns, self._over(parts), condition)
        return self._leaf(node, str(parts[0]))

    def grouped(self, parts: list[Any]) -> tree.Grouped:
        return tree.Grouped(parts[0], self._name(parts[2]), self._over(parts))

    def pattern(self, parts: list[Any]) -> tree.Pattern:
        return tree.Pattern("".join(parts), self._over(parts))

    def release(self, parts: list[Any]) -> tree.ReleaseStatement:
        """A clause ends at a comma or where a word stands on a new line."""
        clauses: list[list[Any]] = []
        fresh, end = True, self._at(parts[2]).end
        for part in parts[3:-1]:
            if isinstance(part, Token) and part.type == "COMMA":
                fresh = True
                continue
            word: Any = part
            if isinstance(part, Token) and part.type == "COLON":
                word = tree.Name(tree.COLON, self._at(part))
            elif isinstance(part, Token):
                word = self.number([part]) if part.type == "NUMBER" else self.string([part])
            elif isinstance(part, tree.Ref):
                word = tree.Name(part.name, part.span)
            if fresh or "\n" in self.source.text[end : word.span.start]:
                clauses.append([])
            clauses[-1].append(word)
            fresh, end = False, word.span.end
        return tree.ReleaseStatement(self._name(parts[1]), tuple(map(tuple, clauses)), self._over(parts))

    def family(self, parts: list[Any]) -> tree.Family:
        path, bounds = parts
        party = path.value if isinstance(path, tree.Attribute) else None
        prefix = path.name if isinstance(path, tree.Attribute) else tree.Name(path.name, path.span)
        return tree.Family(party, prefix, bounds.low, bounds.high, self._over(parts))

    def protect(self, parts: list[Any]) -> _Leaf | Dropped:
        phase = self._name(parts[5]) if len(parts) > 4 else None
        return self._leaf(tree.Protect(parts[1], parts[3], phase, self._over(parts)))

    def accept(self, parts: list[Any]) -> _Leaf | Dropped:
        reason = self.string([parts[5]]) if len(parts) > 4 else None
        return self._leaf(tree.Accept(self._name(parts[1]), parts[3], reason, self._over(parts)))

    def target(self, parts: list[Any]) -> tree.EdgeTarget:
        if isinstance(parts[0], Token):
            return tree.EdgeTarget(self._name(parts[2]), None, self._over(parts))
        return tree.EdgeTarget(None, parts[0], self._over(parts))

    def weights(self, parts: list[Any]) -> tree.WeightsTarget:
        patterns = tuple(part for part in parts if isinstance(part, tree.Pattern))
        return tree.WeightsTarget(patterns, parts[-1], self._over(parts))

    def start(self, parts: list[Any]) -> tuple[tree.Item, ...]:
        return tuple(part for part in parts if not isinstance(part, Dropped))
