"""`vflc fmt`: a spec in the one way of writing it, with every comment kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from vflc_common.text import quote, written

from vflc.diagnostics import DiagnosticCollector, SourceText
from vflc.syntax import tree
from vflc.syntax.clauses import limits_of
from vflc.syntax.layout import STEP, WIDTH, Layout, LayoutSlot, Line, join
from vflc.syntax.parser import parse

ALIGNED_COMMENTS = 80
"""Comments of lines longer than this do not move those of their neighbours."""


def format_spec(source_text: str, name: str = "spec.vfl") -> str:
    """The text in canonical form; formatting it again changes nothing.

    Raises:
        Refused: it does not parse.
    """
    collector = DiagnosticCollector()
    text = source_text.replace("\r\n", "\n").removeprefix("\ufeff")
    spec = parse(SourceText(name, text), collector)
    collector.refuse_errors()
    return _Formatter(text, spec).text()


class _Formatter:
    def __init__(self, text: str, spec: tree.Spec) -> None:
        self.source = text
        self.spec = spec
        self.layout = Layout(text, spec.comments)

    def text(self) -> str:
        slots = self._bindings(self.spec.items, 0)
        lines = self.layout.fill([], slots, 0, len(self.source) + 1, None)
        return "".join(f"{line}\n" for line in _written(lines))

    # --- bodies ---------------------------------------------------------------------------------

    def _body(
        self, head: str, slots: Sequence[LayoutSlot], start: int, node: tree.Item, tail: str = ""
    ) -> list[Line]:
        """`head {`, the slots, `}`; on one line where there is nothing between."""
        lines = self.layout.fill([Line(f"{head} {{")], slots, start, node.span.end, Line("}"))
        if len(lines) == 2 and not lines[0].comments:
            return [Line(f"{head} {{}}")]
        return lines

    def _runs(self, nodes: Sequence[tree.Item | tree.Column | tree.Setting]) -> Iterator[list[int]]:
        """Indices of nodes without a blank line between them."""
        run: list[int] = []
        for index, node in enumerate(nodes):
            if run and self.layout.blank(nodes[index - 1].span.end, node.span.start):
                yield run
                run = []
            run.append(index)
        if run:
            yield run

    def _bindings(self, nodes: Sequence[tree.Item], indent: int) -> list[LayoutSlot]:
        """Slots of statements, bindings of a run with their `=` under each other."""
        slots: list[LayoutSlot] = []
        for run in self._runs(nodes):
            for kind, group in groupby((nodes[index] for index in run), key=_alignment):
                members = list(group)
                bindings = [node for node in members if isinstance(node, tree.Binding)]
                heads = self._heads(bindings)
                width = self._values_width(bindings, heads) if kind == "scoped" else 0
                for node in members:
                    draw: Callable[[], list[Line]]
                    if isinstance(node, tree.Binding):
                        draw = self._binding(node, heads[id(node)], indent, width)
                    else:
                        draw = self._drawing(node)
                    slots.append(LayoutSlot(node.span.start, node.span.end, draw))
        return slots

    def _heads(self, bindings: Sequence[tree.Binding]) -> dict[int, str]:
        scope = max((len(node.scope or "") for node in bindings), default=0)
        name = max((len(node.name.text) for node in bindings), default=0)
        return {
            id(node): (f"{node.scope or '':<{scope}} " if scope else "") + f"{node.name.text:<{name}} = "
            for node in bindings
        }

    def _values_width(self, bindings: Sequence[tree.Binding], heads: dict[int, str]) -> int:
        """Room for values so that `at` stands in one column; 0 where it cannot."""
        if not all(node.at for node in bindings) or any(self.layout.broken(node.value) for node in bindings):
            return 0
        width = max(len(self.layout.flat(node.value)) for node in bindings)
        fits = all(len(heads[id(n)]) + width + len(n.at.text) + 8 <= WIDTH for n in bindings if n.at)
        return width if fits else 0

    def _binding(self, node: tree.Binding, head: str, indent: int, width: int) -> Callable[[], list[Line]]:
        def draw() -> list[Line]:
            lines = self._value(head, node.value, indent, node.at)
            if width and node.at and len(lines) == 1:
                lines[0].text = f"{head}{self.layout.flat(node.value):<{width}} at {node.at.text}"
            return lines

        return draw

    def _value(
        self, head: str, value: tree.Expr, indent: int, at: tree.Name | None = None, of: str = ""
    ) -> list[Line]:
        tail = of + (f" at {at.text}" if at else "")
        lines = join([Line(head, indent)], self.layout.lay(value, indent, indent + len(head) + len(tail)))
        lines[-1].text += tail
        return lines

    # --- statements -----------------------------------------------------------------------------

    def _drawing(self, node: tree.Item) -> Callable[[], list[Line]]:
        return lambda: self._statement(node)

    def _statement(self, node: tree.Item) -> list[Line]:
        match node:
            case tree.Import():
                return [Line(_import(node))]
            case tree.Party():
                head = f"{'population' if node.population else 'party'} {node.name.text}"
                return self._body(head, self._columns(node), node.name.span.end, node)
            case tree.Block():
                return self._block(node)
            case tree.Outside():
                return self._value(f"block {node.name.text} = ", node.value, 0)
            case tree.Fuse():
                slots = self._bindings(node.body, STEP)
                return self._body(f"fuse at {node.place.text}", slots, node.place.span.end, node)
            case tree.Predict():
                of = f" of {self.layout.flat(node.of)}" if node.of else ""
                family = f"{{{node.family[0]}..{node.family[1]}}}" if node.family else ""
                return self._value(f"predict {node.name.text}{family} = ", node.value, 0, node.at, of)
            case tree.Objective():
                return self._value("objective ", node.value, 0)
            case tree.Train():
                return self._settings("train", node.mode, node)
            case tree.ScheduleStatement():
                return self._settings("schedule", node.name, node)
            case tree.ReleaseStatement():
                return self._release(node)
            case tree.Protect():
                phase = f" in {node.phase.text}" if node.phase else ""
                head = f"protect {self._target(node.target)} with "
                return self._value(head, node.mechanism, 0, of=phase)
            case tree.Accept():
                reason = f" because {quote(node.reason.value)}" if node.reason else ""
                return [Line(f"accept {node.code.text} on {self._target(node.target)}{reason}")]
            case tree.Binding():
                return self._value(f"{node.name.text} = ", node.value, 0, node.at)

    def _target(self, target: tree.EdgeTarget | tree.WeightsTarget) -> str:
        if isinstance(target, tree.WeightsTarget):
            patterns = ", ".join(pattern.text for pattern in target.patterns)
            return f"weights {patterns} at {target.at.text}" if patterns else f"weights at {target.at.text}"
        if target.gradients_to is not None:
            return f"gradients to {target.gradients_to.text}"
        return self.layout.flat(target.value) if target.value else ""

    def _block(self, node: tree.Block) -> list[Line]:
        head = f"block {node.name.text}"
        parameters = ", ".join(self.layout.flat(p) for p in node.parameters)
        start = node.name.span.end
        opened = node.parameters and self.layout.opened(node.parameters, start, node.parameters[-1].span.end)
        if len(head) + len(parameters) + 4 <= WIDTH and not opened:
            lines = [Line(f"{head}({parameters}) {{")]
        else:
            end = node.parameters[-1].span.end
            lines = self._parameters(head, node, start, end)
            start = end
        slots = self._bindings(node.body, STEP)
        at = node.result.span
        slots.append(LayoutSlot(at.start, at.end, lambda: self._value("return ", node.result, STEP)))
        slots.sort(key=lambda slot: slot.start)
        if node.doc is not None:
            lines.append(Line(quote(node.doc), STEP))
        return self.layout.fill(lines, slots, start, node.span.end, Line("}"))

    def _parameters(self, head: str, node: tree.Block, start: int, end: int) -> list[Line]:
        def draw(parameter: tree.BlockParameter) -> Callable[[], list[Line]]:
            return lambda: join(self.layout.lay(parameter, STEP, STEP), [Line(",")])

        slots = [LayoutSlot(p.span.start, p.span.end, draw(p)) for p in node.parameters]
        return self.layout.fill([Line(f"{head}(")], slots, start, end, Line(") {"))

    def _columns(self, party: tree.Party) -> list[LayoutSlot]:
        slots: list[LayoutSlot] = []
        if party.key:
            key = Line(f"key {', '.join(written(name.text) for name in party.key)}", STEP)
            slots.append(LayoutSlot(party.key[0].span.start, party.key[-1].span.end, lambda: [key]))
        if party.many is not None:
            many = Line(f"rows per key {party.many.text}", STEP)
            slots.append(LayoutSlot(party.many.span.start, party.many.span.end, lambda: [many]))
        if party.missing is not None:
            missing = Line("missing party allowed", STEP)
            slots.append(LayoutSlot(party.missing.start, party.missing.end, lambda: [missing]))
        for run in self._runs(party.columns):
            columns = [party.columns[index] for index in run]
            typed = [column for column in columns if column.type is not None]
            kind = max(len(column.kind) for column in columns)
            name = max((len(_column_name(column)) for column in typed), default=0)
            encoded = (len(_type(c)) for c in typed if c.encoders)
            widths = kind, name, max(encoded, default=0)
            slots += [LayoutSlot(c.span.start, c.span.end, self._column(c, *widths)) for c in columns]
        return sorted(slots, key=lambda slot: slot.start)

    def _column(self, column: tree.Column, kind: int, name: int, type_: int) -> Callable[[], list[Line]]:
        def draw() -> list[Line]:
            head = f"{column.kind:<{kind}} "
            if column.type is not None:
                head += f"{_column_name(column) + ':':<{name + 1}} "
                head += f"{_type(column):<{type_}}" if column.encoders else _type(column)
                lines = [Line(head, STEP)]
            else:
                assert column.value is not None
                lines = self._value(f"{head}{_column_name(column)} = ", column.value, STEP)
            for encoder in column.encoders:
                used = STEP + len(lines[-1].text) + 4
                lines = join(lines, join([Line(" -> ", STEP)], self.layout.lay(encoder, STEP, used)))
            return lines

        return draw

    # --- settings and clauses -------------------------------------------------------------------

    def _settings(
        self, word: str, name: tree.Name | None, node: tree.Train | tree.ScheduleStatement
    ) -> list[Line]:
        """One setting a line, values under each other; settings written on one line stay there."""
        slots: list[LayoutSlot] = []
        for run in self._runs(node.settings):
            rows = list(self._rows([node.settings[index] for index in run]))
            pad = max((len(row[0].name.text) for row in rows if len(row) == 1), default=0)
            for row in rows:
                slots.append(LayoutSlot(row[0].span.start, row[-1].span.end, self._row(row, pad)))
        start = name.span.end if name else node.span.start
        return self._body(word + (f" {name.text}" if name else ""), slots, start, node)

    def _rows(self, settings: Sequence[tree.Setting]) -> Iterator[list[tree.Setting]]:
        rows: list[list[tree.Setting]] = []
        for setting in settings:
            if rows and "\n" not in self.source[rows[-1][-1].span.end : setting.span.start]:
                rows[-1].append(setting)
            else:
                rows.append([setting])
        for row in rows:
            width = STEP + sum(len(self._setting(setting)) + 3 for setting in row) - 3
            whole = width <= WIDTH and not any(
                self.layout.broken(v) for setting in row for v in setting.values
            )
            yield from [row] if whole else ([setting] for setting in row)

    def _row(self, row: Sequence[tree.Setting], pad: int) -> Callable[[], list[Line]]:
        if len(row) > 1:
            return lambda: [Line("   ".join(map(self._setting, row)), STEP)]

        def draw() -> list[Line]:
            setting = row[0]
            lines = [Line(f"{setting.name.text:<{pad}} {'where ' * setting.condition}", STEP)]
            for index, value in enumerate(setting.values):
                lines[-1].text += _between(setting) if index else ""
                lines = join(lines, self.layout.lay(value, STEP, STEP + len(lines[-1].text)))
            lines[-1].text += _patterns(setting)
            return lines

        return draw

    def _setting(self, setting: tree.Setting) -> str:
        values = _between(setting).join(self.layout.flat(value) for value in setting.values)
        return f"{setting.name.text} {'where ' * setting.condition}{values}{_patterns(setting)}"

    def _release(self, node: tree.ReleaseStatement) -> list[Line]:
        head, start = f"release {node.party.text}", node.party.span.end
        parts = [part for limit in limits_of(node) for part in self._lines(limit)]
        texts = [self._list(part) for part in parts]
        only = f"{head} {{ {''.join(texts)} }}"
        inside = self.source[start : node.span.end]
        if len(texts) == 1 and len(only) <= WIDTH and "\n" not in inside:
            return [Line(only)]

        def draw(text: str) -> Callable[[], list[Line]]:
            return lambda: _folded(text)

        spans = [(part[0][0].span.start, part[-1][-1].span.end) for part in parts]
        slots = [LayoutSlot(*span, draw(text)) for span, text in zip(spans, texts, strict=True)]
        return self._body(head, slots, start, node)

    def _lines(self, limit: list[tree.Clause]) -> list[list[tree.Clause]]:
        """A list in one piece, or, where it has comments, in its clauses."""
        text = self.source[limit[0][0].span.start : limit[-1][-1].span.end]
        return [limit] if "#" not in text else [[clause] for clause in limit]

    def _list(self, clauses: list[tree.Clause]) -> str:
        text = ", ".join(" ".join(map(self._word, clause)) for clause in clauses)
        return text.replace(f" {tree.COLON}", tree.COLON)

    def _word(self, word: tree.Expr | tree.Name) -> str:
        return word.text if isinstance(word, tree.Name) else self.layout.flat(word)


def _folded(text: str) -> list[Line]:
    """A list, on as many lines as it needs."""
    lines = [Line("", STEP)]
    for item in text.split(", "):
        if lines[-1].text and lines[-1].indent + len(lines[-1].text) + len(item) + 2 > WIDTH:
            lines.append(Line("", 2 * STEP))
        lines[-1].text += f"{item}, "
    for line in lines:
        line.text = line.text.rstrip()
    lines[-1].text = lines[-1].text.removesuffix(",")
    return lines


def _alignment(node: tree.Item) -> str:
    if not isinstance(node, tree.Binding):
        return "none"
    return "scoped" if node.scope else "plain"


def _import(node: tree.Import) -> str:
    source = node.library.text if node.library else quote(node.file.value if node.file else "")
    names = ", ".join(name.text for name in node.names)
    if not names:
        return f"use {source}"
    return f"use {source}.{{{names}}}" if "{" in node.span.text else f"use {source}.{names}"


def _column_name(column: tree.Column) -> str:
    if column.table is not None:
        return written(column.table)
    return column.name.text + (f"{{{column.family[0]}..{column.family[1]}}}" if column.family else "")


def _type(column: tree.Column) -> str:
    """The type, and after it the name in the spec where the table has another."""
    assert column.type is not None, "a computed column has no type"
    return column.type.text + (f" as {column.name.text}" if column.table is not None else "")


def _between(setting: tree.Setting) -> str:
    """What stands between the values of a setting: `drop alice 0.2` has a party before its share."""
    return " " if setting.name.text == "drop" else ", "


def _patterns(setting: tree.Setting) -> str:
    patterns = ", ".join(pattern.text for pattern in setting.patterns)
    return f"{' for ' * bool(setting.values)}{patterns}" if patterns else ""


def _written(lines: Sequence[Line]) -> Iterator[str]:
    """Text of the lines, comments of a paragraph under each other."""
    for commented, group in groupby(lines, key=lambda line: bool(line.text)):
        paragraph = list(group)
        if not commented:
            yield ""
            continue
        lengths = [line.indent + len(line.text) for line in paragraph if _aligned(line)]
        column = max((length for length in lengths if length <= ALIGNED_COMMENTS), default=0) + 2
        for line in paragraph:
            text = " " * line.indent + line.text.rstrip()
            if line.comments:
                width = max(column, len(text) + 2) if _aligned(line) else len(text) + 2
                text = f"{text:<{width}}{'  '.join(line.comments)}"
            yield text.rstrip()


def _aligned(line: Line) -> bool:
    return bool(line.comments) and not line.text.endswith(("{", "(", "["))
