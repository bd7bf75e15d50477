"""The tree as compact text: a statement a line, expressions in prefix form. For tests and people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from vflc_common.text import written

from vflc.diagnostics import Span
from vflc.syntax import tree


def show(spec: tree.Spec, places: bool = False) -> str:
    """All statements, the names of those left out, and with `places` where each begins and ends.

    Comments are not part of it: two texts that differ in layout only give the same.
    """
    lines = [line for item in spec.items for line in _item(item, places)]
    if spec.poisoned:
        lines.append(f"poisoned {' '.join(sorted(spec.poisoned))}")
    return "".join(f"{line}\n" for line in lines)


def show_expression(node: tree.Expr) -> str:
    """One expression: `a.v + 2` is `(+ (. a v) 2)`."""
    match node:
        case tree.Number() | tree.Bool():
            return repr(node.value)
        case tree.String():
            return repr(node.value)
        case tree.Ref():
            return node.name
        case tree.Attribute():
            return f"(. {show_expression(node.value)} {node.name.text})"
        case tree.Family():
            owner = f"{show_expression(node.value)} " if node.value else ""
            return f"(family {owner}{node.prefix.text} {node.low} {node.high})"
        case tree.Call():
            return _list(["call", show_expression(node.function), *map(_argument, node.arguments)])
        case tree.Unary():
            return f"({node.operator} {show_expression(node.value)})"
        case tree.Binary():
            return f"({node.operator} {show_expression(node.left)} {show_expression(node.right)})"
        case tree.Index():
            return f"(index {show_expression(node.value)} {show_expression(node.index)})"
        case tree.Range():
            return f"(.. {show_expression(node.low)} {show_expression(node.high)})"
        case tree.Grouped():
            return f"(by {show_expression(node.value)} {node.by.text})"
        case tree.ListOf():
            return f"[{' '.join(map(show_expression, node.items))}]"
        case tree.Comprehension():
            condition = [f"if {show_expression(node.condition)}"] if node.condition else []
            each = f"{show_expression(node.body)} for {node.variable.text} in"
            return _list(["each", each, show_expression(node.iterable), *condition])
        case tree.RecordOf():
            fields = (f"{field.name.text}={show_expression(field.value)}" for field in node.fields)
            return f"{{{' '.join(fields)}}}"


def _list(parts: Iterable[str]) -> str:
    return f"({' '.join(parts)})"


def _argument(argument: tree.Argument) -> str:
    value = show_expression(argument.value)
    return f"{argument.name.text}={value}" if argument.name else value


def _item(item: tree.Item, places: bool) -> Iterator[str]:
    def line(text: str, span: Span, depth: int = 0) -> str:
        return "  " * depth + text + (f"  @{_place(span)}" if places else "")

    match item:
        case tree.Import():
            source = item.library.text if item.library else repr(item.file.value if item.file else "")
            yield line(" ".join(["use", source, *(name.text for name in item.names)]), item.span)
        case tree.Party():
            kind = "population" if item.population else "party"
            key = f" key {', '.join(written(name.text) for name in item.key)}" if item.key else ""
            rows = f" rows per key {item.many.text}" if item.many else ""
            missing = " missing party allowed" if item.missing else ""
            yield line(f"{kind} {item.name.text}{key}{rows}{missing}", item.span)
            yield from (line(_column(column), column.span, 1) for column in item.columns)
        case tree.Block():
            yield line(f"block {item.name.text}{_parameters(item.parameters)}", item.span)
            if item.doc is not None:
                yield f"  doc {item.doc!r}"
            yield from (line(_binding(binding), binding.span, 1) for binding in item.body)
            yield line(f"return {show_expression(item.result)}", item.result.span, 1)
        case tree.Outside():
            yield line(f"block {item.name.text} = {show_expression(item.value)}", item.span)
        case tree.Fuse():
            yield line(f"fuse {item.place.text}", item.span)
            yield from (line(_binding(binding), binding.span, 1) for binding in item.body)
        case tree.Binding():
            yield line(_binding(item), item.span)
        case tree.Predict():
            of = f" of {show_expression(item.of)}" if item.of else ""
            family = f"{{{item.family[0]}..{item.family[1]}}}" if item.family else ""
            text = f"predict {item.name.text}{family} = {show_expression(item.value)}{of}{_at(item.at)}"
            yield line(text, item.span)
        case tree.Objective():
            yield line(f"objective {show_expression(item.value)}", item.span)
        case tree.Train() | tree.ScheduleStatement():
            word, name = ("train", item.mode) if isinstance(item, tree.Train) else ("schedule", item.name)
            yield line(word + (f" {name.text}" if name else ""), item.span)
            yield from (line(_setting(setting), setting.span, 1) for setting in item.settings)
        case tree.ReleaseStatement():
            yield line(f"release {item.party.text}", item.span)
            yield from ("  " + " ".join(map(_word, clause)) for clause in item.clauses)
        case tree.Protect():
            phase = f" in {item.phase.text}" if item.phase else ""
            text = f"protect {_target(item.target)} with {show_expression(item.mechanism)}{phase}"
            yield line(text, item.span)
        case tree.Accept():
            reason = f" because {item.reason.value!r}" if item.reason else ""
            yield line(f"accept {item.code.text} on {_target(item.target)}{reason}", item.span)


def _place(span: Span) -> str:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return f"{line}:{column}-{end_line}:{end_column}"


def _column(column: tree.Column) -> str:
    name = column.name.text
    if column.family:
        name += f"{{{column.family[0]}..{column.family[1]}}}"
    is_ = f": {column.type.text}" if column.type else ""
    if column.table is not None:
        is_ += f" of {column.table!r}"
    if column.value is not None:
        is_ = f" = {show_expression(column.value)}"
    chain = (_list([encoder.name.text, *map(_argument, encoder.arguments)]) for encoder in column.encoders)
    return " -> ".join([f"{column.kind} {name}{is_}", *chain])


def _parameters(parameters: Sequence[tree.BlockParameter]) -> str:
    return "".join(
        f" {p.name.text}" + (f"={show_expression(p.default)}" if p.default else "") for p in parameters
    )


def _binding(node: tree.Binding) -> str:
    scope = f"{node.scope} " if node.scope else ""
    return f"{scope}{node.name.text} = {show_expression(node.value)}{_at(node.at)}"


def _at(place: tree.Name | None) -> str:
    return f" at {place.text}" if place else ""


def _setting(setting: tree.Setting) -> str:
    patterns = f" for {' '.join(p.text for p in setting.patterns)}" if setting.patterns else ""
    where = " where" * setting.condition
    return f"{setting.name.text}{where} {' '.join(map(show_expression, setting.values))}{patterns}"


def _word(word: tree.Expr | tree.Name) -> str:
    return word.text if isinstance(word, tree.Name) else show_expression(word)


def _target(target: tree.EdgeTarget | tree.WeightsTarget) -> str:
    if isinstance(target, tree.WeightsTarget):
        return " ".join(("weights", *(pattern.text for pattern in target.patterns), "at", target.at.text))
    if target.gradients_to is not None:
        return f"gradients to {target.gradients_to.text}"
    return show_expression(target.value) if target.value is not None else ""
