"""Every name in a spec: where it stands, what it means, and where that was declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from vflc.diagnostics import Span
from vflc.lsp.vocabulary import library
from vflc.syntax import tree


class Occurrence(Struct, frozen=True):
    """A name in the text. What has the same `key` is the same thing.

    Args:
        kind: `party`, `column`, `value`, `parameter`, `variable`, `block`, `prediction`, `library`,
            `function`, `encoder`, `optimizer` or `metric`.
        key: of a column `column alice.Age`, of a name in a block `value Bottom/e`.
        declares: whether it is declared here.
        inside: the block that it stands in.
    """

    start: int
    end: int
    kind: str
    key: str
    name: str
    declares: bool = False
    inside: str = ""


def occurrences(spec: tree.Spec, called: Mapping[str, tree.Block] | None = None) -> list[Occurrence]:
    """All names in the order of the text. `called` are the blocks that it may call, files' ones, too."""
    walk = _Walk(spec, blocks(spec) if called is None else called)
    return sorted(walk.found, key=lambda each: each.start)


def at(found: list[Occurrence], offset: int) -> Occurrence | None:
    """The name that an offset is in or at the end of."""
    inside = [each for each in found if each.start <= offset <= each.end]
    return max(inside, key=lambda each: each.start, default=None)


def parties(spec: tree.Spec) -> dict[str, tree.Party]:
    return {item.name.text: item for item in spec.items if isinstance(item, tree.Party)}


def blocks(spec: tree.Spec, others: Mapping[str, tree.Block] | None = None) -> dict[str, tree.Block]:
    """The blocks that a spec may call: its own, those that it uses of a library, and `others` of files."""
    found: dict[str, tree.Block] = dict(others or {})
    for item in spec.items:
        if isinstance(item, tree.Import) and item.library is not None:
            known = library(item.library.text)
            names = [name.text for name in item.names] or list(known)
            found |= {name: known[name] for name in names if name in known}
    return found | {item.name.text: item for item in spec.items if isinstance(item, tree.Block)}


def bindings(spec: tree.Spec) -> Iterator[tree.Binding]:
    """Bindings outside of blocks."""
    for item in spec.items:
        if isinstance(item, tree.Binding):
            yield item
        elif isinstance(item, tree.Fuse):
            yield from item.body


def fields(called: Mapping[str, tree.Block], binding: tree.Binding) -> list[str]:
    """The fields of a binding's record: written there, or what the block that it calls returns."""
    value: tree.Expr | None = binding.value
    if isinstance(value, tree.Call) and isinstance(value.function, tree.Ref):
        block = called.get(value.function.name)
        value = block.result if block is not None else None
    return [field.name.text for field in value.fields] if isinstance(value, tree.RecordOf) else []


class _Walk:
    """Looks names up as lowering does: the innermost scope first."""

    def __init__(self, spec: tree.Spec, called: Mapping[str, tree.Block]) -> None:
        self.found: list[Occurrence] = []
        self.parties = parties(spec)
        self.blocks = called
        self.inside = ""
        self.globals: dict[str, tuple[str, str]] = {name: ("party", f"party {name}") for name in self.parties}
        self.globals |= {name: ("block", f"block {name}") for name in self.blocks}
        for item in spec.items:
            if isinstance(item, tree.Outside):
                self.globals[item.name.text] = ("block", f"block {item.name.text}")
            elif isinstance(item, tree.Import) and item.file is not None:
                self.globals |= {name.text: ("block", f"block {name.text}") for name in item.names}
        for binding in bindings(spec):
            self.globals[binding.name.text] = ("value", f"value {binding.name.text}")
        for item in spec.items:
            self.item(item)

    def put(self, name: str, span: Span, kind: str, key: str, declares: bool = False) -> None:
        if span.text == name:
            self.found.append(Occurrence(span.start, span.end, kind, key, name, declares, self.inside))

    def name(self, name: tree.Name, kind: str, key: str, declares: bool = False) -> None:
        self.put(name.text, name.span, kind, key, declares)

    def party(self, name: tree.Name | None) -> None:
        if name is not None and name.text in self.parties:
            self.name(name, "party", f"party {name.text}")

    def item(self, item: tree.Item) -> None:
        match item:
            case tree.Import():
                if item.library is not None:
                    self.name(item.library, "library", f"library {item.library.text}")
                for name in item.names:
                    self.name(name, "block", f"block {name.text}")
            case tree.Party():
                self.declared(item)
            case tree.Block():
                self.block(item)
            case tree.Outside():
                self.name(item.name, "block", f"block {item.name.text}", True)
            case tree.Binding():
                self.binding(item, {})
            case tree.Fuse():
                self.party(item.place)
                for binding in item.body:
                    self.binding(binding, {})
            case tree.Predict():
                self.name(item.name, "prediction", f"prediction {item.name.text}", True)
                self.value(item.value, {})
                self.party(item.at)
                if item.of is not None:
                    self.value(item.of, {})
            case tree.Objective():
                self.value(item.value, {})
            case tree.Train() | tree.ScheduleStatement():
                for setting in item.settings:
                    self.setting(setting)
            case tree.ReleaseStatement():
                self.release(item)
            case tree.Protect():
                self.target(item.target)
            case tree.Accept():
                self.target(item.target)

    def declared(self, party: tree.Party) -> None:
        name = party.name.text
        self.name(party.name, "party", f"party {name}", True)
        for key in party.key:
            self.name(key, "column", f"column {name}.{key.text}", True)
        own = {
            column.name.text: ("column", f"column {name}.{column.name.text}")
            for column in party.columns
            if column.family is None
        }
        for column in party.columns:
            if column.family is None:
                self.name(column.name, *own[column.name.text], True)
            if column.value is not None:
                self.value(column.value, own)
            for encoder in column.encoders:
                self.name(encoder.name, "encoder", f"encoder {encoder.name.text}")

    def block(self, block: tree.Block) -> None:
        name = block.name.text
        self.name(block.name, "block", f"block {name}", True)
        self.inside = name
        local: dict[str, tuple[str, str]] = {}
        for parameter in block.parameters:
            if parameter.default is not None:
                self.value(parameter.default, local)
            local[parameter.name.text] = ("parameter", f"parameter {name}/{parameter.name.text}")
            self.name(parameter.name, *local[parameter.name.text], True)
        for binding in block.body:
            self.binding(binding, local)
            local[binding.name.text] = ("value", f"value {name}/{binding.name.text}")
        self.value(block.result, local)
        self.inside = ""

    def binding(self, binding: tree.Binding, local: Mapping[str, tuple[str, str]]) -> None:
        scope = f"{self.inside}/" if self.inside else ""
        self.name(binding.name, "value", f"value {scope}{binding.name.text}", True)
        self.value(binding.value, local)
        self.party(binding.at)

    def setting(self, setting: tree.Setting) -> None:
        kind = {"optimizer": "optimizer", "metrics": "metric", "monitor": "metric"}.get(setting.name.text)
        if setting.name.text == "drop" and setting.values and isinstance(setting.values[0], tree.Ref):
            self.reference(setting.values[0], {})
        for value in setting.values:
            if kind is not None:
                inner = value.value if isinstance(value, tree.Grouped) else value
                call = inner.function if isinstance(inner, tree.Call) else inner
                if isinstance(call, tree.Ref):
                    self.put(call.name, call.span, kind, f"{kind} {call.name}")
                if isinstance(inner, tree.Call):
                    for argument in inner.arguments:
                        self.value(argument.value, {})
                if isinstance(value, tree.Grouped):
                    self.grouping(value.by)
            else:
                self.value(value, {})

    def grouping(self, by: tree.Name) -> None:
        owners = [
            party
            for party, declared in self.parties.items()
            if any(column.name.text == by.text for column in declared.columns)
        ]
        if len(owners) == 1:
            self.name(by, "column", f"column {owners[0]}.{by.text}")

    def release(self, release: tree.ReleaseStatement) -> None:
        self.party(release.party)
        declared = self.parties.get(release.party.text)
        own = {column.name.text for column in declared.columns} if declared is not None else set()
        for clause in release.clauses:
            for word in clause:
                text = word.text if isinstance(word, tree.Name) else getattr(word, "name", None)
                if isinstance(word, tree.Name | tree.Ref) and isinstance(text, str):
                    if text in own:
                        self.put(text, word.span, "column", f"column {release.party.text}.{text}")
                    elif text in self.parties:
                        self.put(text, word.span, "party", f"party {text}")
                elif not isinstance(word, tree.Name):
                    self.value(word, {})

    def target(self, target: tree.EdgeTarget | tree.WeightsTarget) -> None:
        if isinstance(target, tree.WeightsTarget):
            self.party(target.at)
            return
        self.party(target.gradients_to)
        if target.value is not None:
            self.value(target.value, {})

    # --- expressions ----------------------------------------------------------------------------

    def reference(self, ref: tree.Ref, local: Mapping[str, tuple[str, str]]) -> None:
        known = local.get(ref.name) or self.globals.get(ref.name)
        if known is not None:
            self.put(ref.name, ref.span, *known)

    def value(self, value: tree.Expr, local: Mapping[str, tuple[str, str]]) -> None:
        match value:
            case tree.Ref():
                self.reference(value, local)
            case tree.Attribute():
                self.value(value.value, local)
                owner = value.value
                if isinstance(owner, tree.Ref) and owner.name not in local:
                    party = self.parties.get(owner.name)
                    if party and any(c.name.text == value.name.text for c in party.columns):
                        self.name(value.name, "column", f"column {owner.name}.{value.name.text}")
            case tree.Call():
                self.call(value, local)
            case tree.Comprehension():
                self.value(value.iterable, local)
                key = f"variable {value.variable.span.start}"
                self.name(value.variable, "variable", key, True)
                inner = {**local, value.variable.text: ("variable", key)}
                self.value(value.body, inner)
                if value.condition is not None:
                    self.value(value.condition, inner)
            case tree.RecordOf():
                for field in value.fields:
                    self.value(field.value, local)
            case tree.ListOf():
                for item in value.items:
                    self.value(item, local)
            case tree.Unary() | tree.Grouped():
                self.value(value.value, local)
            case tree.Binary():
                self.value(value.left, local)
                self.value(value.right, local)
            case tree.Index():
                self.value(value.value, local)
                self.value(value.index, local)
            case tree.Range():
                self.value(value.low, local)
                self.value(value.high, local)

    def call(self, call: tree.Call, local: Mapping[str, tuple[str, str]]) -> None:
        function, called = call.function, None
        if isinstance(function, tree.Ref):
            if function.name in local or function.name in self.globals:
                self.reference(function, local)
                called = self.blocks.get(function.name) if function.name not in local else None
            else:
                self.put(function.name, function.span, "function", f"function {function.name}")
        else:
            self.value(function, local)
        taken = {each.name.text for each in called.parameters} if called is not None else set()
        for argument in call.arguments:
            if argument.name is not None and called is not None and argument.name.text in taken:
                key = f"parameter {called.name.text}/{argument.name.text}"
                self.name(argument.name, "parameter", key)
            self.value(argument.value, local)
