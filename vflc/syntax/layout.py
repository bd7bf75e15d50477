"""How expressions are written: on one line where they fit, one part a line where they do not.

A bracket stays broken where its author broke the line after it or put a comment between its
parts. Comments elsewhere inside a statement move in front of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct, field
from vflc_common.text import quote

from vflc.syntax import tree

WIDTH = 100
STEP = 2

_LEVELS = {"or": 1, "and": 2, "+": 5, "-": 5, "**": 8}
_LEVELS |= dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), 4) | dict.fromkeys(("*", "/", "//", "%", "@"), 6)
_NOT, _MINUS, _POSTFIX = 3, 7, 9
_PLAIN = tree.Number | tree.String | tree.Bool | tree.Ref

SyntaxPart = tree.Expr | tree.Argument | tree.Field | tree.BlockParameter | tree.EncoderCall


class Line(Struct):
    """A line to be: its indentation, text, and the comments that end it."""

    text: str
    indent: int = 0
    comments: list[str] = field(default_factory=list)


class LayoutSlot(Struct, frozen=True):
    """One part of a body or a broken bracket: where it stands in the source, how it is drawn."""

    start: int
    end: int
    draw: Callable[[], list[Line]]


def level(node: tree.Expr) -> int:
    """How tightly the outermost operator binds."""
    match node:
        case tree.Range():
            return 0
        case tree.Binary():
            return _LEVELS[node.operator]
        case tree.Unary():
            return _NOT if node.operator == "not" else _MINUS
        case _:
            return _POSTFIX


def join(left: list[Line], right: list[Line]) -> list[Line]:
    """`right` goes on from where `left` ends."""
    left[-1].text += right[0].text
    left[-1].comments += right[0].comments
    return left + right[1:]


class Layout:
    """Draws expressions of one source, with the comments that stand between their parts."""

    def __init__(self, text: str, comments: Sequence[tree.Comment]) -> None:
        self.text = text
        self.comments = list(comments)
        self._starts = [comment.span.start for comment in comments]
        self._used: set[int] = set()

    # --- on one line ----------------------------------------------------------------------------

    def flat(self, node: SyntaxPart) -> str:
        """The text of a node without a line's end in it."""
        match node:
            case tree.Number():
                raw = node.span.text
                return raw if raw[0].isdecimal() else repr(node.value)
            case tree.String():
                return quote(node.value)
            case tree.Bool():
                return "true" if node.value else "false"
            case tree.Ref():
                return node.name
            case tree.Attribute():
                return f"{self._operand(node.value, _POSTFIX)}.{node.name.text}"
            case tree.Family():
                owner = f"{self._operand(node.value, _POSTFIX)}." if node.value else ""
                return f"{owner}{node.prefix.text}{{{node.low}..{node.high}}}"
            case tree.Call():
                return f"{self._operand(node.function, _POSTFIX)}({self._all(node.arguments)})"
            case tree.Index():
                return f"{self._operand(node.value, _POSTFIX)}[{self.flat(node.index)}]"
            case tree.Unary():
                return f"{_unary(node)}{self._operand(node.value, level(node))}"
            case tree.Binary():
                left, right = _sides(node)
                return f"{self._operand(node.left, left)} {node.operator} {self._operand(node.right, right)}"
            case tree.Range():
                return f"{self._operand(node.low, 1)}..{self._operand(node.high, 1)}"
            case tree.Grouped():
                return f"{self.flat(node.value)} by {node.by.text}"
            case tree.ListOf():
                return f"[{self._all(node.items)}]"
            case tree.Comprehension():
                return f"[{self.flat(node.body)} {self._clause(node)}]"
            case tree.RecordOf():
                return f"{{{self._all(node.fields)}}}"
            case tree.Argument():
                return (f"{node.name.text} = " if node.name else "") + self.flat(node.value)
            case tree.Field():
                return f"{node.name.text} = {self.flat(node.value)}"
            case tree.BlockParameter():
                return node.name.text + (f" = {self.flat(node.default)}" if node.default else "")
            case tree.EncoderCall():
                return node.name.text + (f"({self._all(node.arguments)})" if node.arguments else "")

    def _all(self, parts: Iterable[SyntaxPart]) -> str:
        return ", ".join(self.flat(part) for part in parts)

    def _operand(self, node: tree.Expr, least: int) -> str:
        return self.flat(node) if level(node) >= least else f"({self.flat(node)})"

    def _clause(self, node: tree.Comprehension) -> str:
        condition = f" if {self.flat(node.condition)}" if node.condition else ""
        return f"for {node.variable.text} in {self.flat(node.iterable)}{condition}"

    # --- on several lines -----------------------------------------------------------------------

    def lay(self, node: SyntaxPart, indent: int, used: int) -> list[Line]:
        """The lines of a node: the first goes on at column `used`, the last may be gone on from."""
        if not self.broken(node) and used + len(flat := self.flat(node)) <= WIDTH:
            return [Line(flat, indent)]
        match node:
            case tree.Call():
                head = self._inside(node.function, _POSTFIX, indent, used)
                return join(head, self.bracket("(", node.arguments, ")", node, indent))
            case tree.EncoderCall() if node.arguments:
                head = [Line(node.name.text, indent)]
                return join(head, self.bracket("(", node.arguments, ")", node, indent))
            case tree.ListOf():
                return self.bracket("[", node.items, "]", node, indent)
            case tree.RecordOf():
                return self.bracket("{", node.fields, "}", node, indent)
            case tree.Comprehension():
                return self._comprehension(node, indent)
            case tree.Binary():
                return self._chain(node, indent, used)
            case tree.Unary():
                sign = _unary(node)
                inner = self._inside(node.value, level(node), indent, used + len(sign))
                return join([Line(sign, indent)], inner)
            case tree.Attribute():
                return self._then(self._inside(node.value, _POSTFIX, indent, used), f".{node.name.text}")
            case tree.Index():
                head = self._then(self._inside(node.value, _POSTFIX, indent, used), "[")
                return self._then(join(head, self.lay(node.index, indent, used)), "]")
            case tree.Argument() | tree.Field():
                name = f"{node.name.text} = " if node.name else ""
                return join([Line(name, indent)], self.lay(node.value, indent, used + len(name)))
            case tree.BlockParameter() if node.default:
                name = f"{node.name.text} = "
                return join([Line(name, indent)], self.lay(node.default, indent, used + len(name)))
            case _:
                return [Line(self.flat(node), indent)]

    def _then(self, lines: list[Line], text: str) -> list[Line]:
        lines[-1].text += text
        return lines

    def _inside(self, node: tree.Expr, least: int, indent: int, used: int) -> list[Line]:
        if level(node) >= least:
            return self.lay(node, indent, used)
        return self._then(join([Line("(", indent)], self.lay(node, indent, used + 1)), ")")

    def _chain(self, node: tree.Binary, indent: int, used: int) -> list[Line]:
        """Operators of one level: a line each where they do not fit on one."""
        links: list[tuple[str, tree.Expr]] = []
        least, _ = _sides(node)
        head: tree.Expr = node
        while isinstance(head, tree.Binary) and level(head) == level(node) and level(node) in (1, 2, 5, 6):
            links.append((head.operator, head.right))
            head = head.left
        if not links:
            links, head = [(node.operator, node.right)], node.left
        split = used + len(self.flat(node)) > WIDTH
        lines = self._inside(head, least, indent, used)
        for operator, operand in reversed(links):
            text = f"{operator} " if split else f" {operator} "
            right = self._inside(operand, _sides(node)[1], indent + STEP * split, indent + STEP + len(text))
            more = join([Line(text, indent + STEP * split)], right)
            lines = lines + more if split else join(lines, more)
        return lines

    def _comprehension(self, node: tree.Comprehension, indent: int) -> list[Line]:
        inner = indent + STEP
        clause = Line(self._clause(node), inner)
        slots = [
            LayoutSlot(node.body.span.start, node.body.span.end, lambda: self.lay(node.body, inner, inner)),
            LayoutSlot(node.variable.span.start, node.span.end, lambda: [clause]),
        ]
        return self.fill([Line("[", indent)], slots, node.span.start, node.span.end, Line("]", indent))

    def bracket(
        self,
        opening: str,
        parts: Sequence[SyntaxPart],
        closing: str,
        whole: SyntaxPart | tree.Block,
        indent: int,
    ) -> list[Line]:
        """The parts of a bracket, each on its line; plain ones as many as fit on one."""
        start, end = whole.span.start, whole.span.end
        if isinstance(whole, tree.Call | tree.EncoderCall):
            start = whole.function.span.end if isinstance(whole, tree.Call) else whole.name.span.end
        inner = indent + STEP
        if parts and all(_plain(part) for part in parts) and not self._between(parts, start, end):
            return [Line(opening, indent), *self._rows(parts, inner), Line(closing, indent)]
        names = [part.name.text for part in parts if isinstance(part, tree.Field)]
        pad = max(map(len, names), default=0)

        def draw(part: SyntaxPart) -> list[Line]:
            if isinstance(part, tree.Field):
                name = f"{part.name.text:<{pad}} = "
                return self._then(
                    join([Line(name, inner)], self.lay(part.value, inner, inner + len(name))), ","
                )
            return self._then(self.lay(part, inner, inner), ",")

        slots = [LayoutSlot(p.span.start, p.span.end, lambda p=p: draw(p)) for p in parts]  # type: ignore[misc]
        return self.fill([Line(opening, indent)], slots, start, end, Line(closing, indent))

    def _rows(self, parts: Sequence[SyntaxPart], indent: int) -> list[Line]:
        rows = [Line("", indent)]
        for part in parts:
            text = self.flat(part) + ","
            if rows[-1].text and indent + len(rows[-1].text) + 1 + len(text) > WIDTH:
                rows.append(Line("", indent))
            rows[-1].text += (" " if rows[-1].text else "") + text
        return rows

    # --- comments -------------------------------------------------------------------------------

    def broken(self, node: SyntaxPart) -> bool:
        """Whether a bracket in it was broken by hand or has comments between its parts."""
        match node:
            case tree.Call():
                return self.broken(node.function) or self.opened(
                    node.arguments, node.function.span.end, node.span.end
                )
            case tree.EncoderCall():
                return self.opened(node.arguments, node.name.span.end, node.span.end)
            case tree.ListOf():
                return self.opened(node.items, node.span.start, node.span.end)
            case tree.RecordOf():
                return self.opened(node.fields, node.span.start, node.span.end)
            case tree.Comprehension():
                rest = (part for part in (node.iterable, node.condition) if part)
                inside = self.opened([node.body], node.span.start, node.variable.span.start)
                return inside or any(map(self.broken, rest))
            case tree.Binary():
                return self.broken(node.left) or self.broken(node.right)
            case tree.Unary() | tree.Attribute() | tree.Argument() | tree.Field():
                return self.broken(node.value)
            case tree.Index():
                return self.broken(node.value) or self.broken(node.index)
            case tree.Range():
                return self.broken(node.low) or self.broken(node.high)
            case tree.BlockParameter():
                return node.default is not None and self.broken(node.default)
            case _:
                return False

    def opened(self, parts: Sequence[SyntaxPart], start: int, end: int) -> bool:
        """Whether a bracket over start..end has to be drawn a part a line."""
        by_hand = bool(parts) and "\n" in self.text[start : parts[0].span.start]
        return by_hand or self._between(parts, start, end) or any(map(self.broken, parts))

    def _between(self, parts: Sequence[SyntaxPart], start: int, end: int) -> bool:
        """Whether comments stand in start..end outside the parts."""
        for index in range(bisect_left(self._starts, start), bisect_left(self._starts, end)):
            place = self._starts[index]
            if not any(part.span.start <= place < part.span.end for part in parts):
                return True
        return False

    def fill(
        self, lines: list[Line], slots: Sequence[LayoutSlot], start: int, end: int, closing: Line | None
    ) -> list[Line]:
        """Draws the slots into `lines`, with the comments of start..end and single blank lines."""
        inner = 0 if closing is None else closing.indent + STEP
        previous, opening = start, len(lines)
        for slot in slots:
            drawn = slot.draw()
            for comment in self._unused(previous, slot.end):
                inside = comment.span.start >= slot.start
                if not inside and _trails(comment, lines):
                    lines[-1].comments.append(comment.text)
                    previous = max(previous, comment.span.end)
                    continue
                place = slot.start if inside else comment.span.start
                self._blank(lines, opening, previous, place)
                lines.append(Line(comment.text, inner))
                previous = max(previous, place if inside else comment.span.end)
            self._blank(lines, opening, previous, slot.start)
            lines += drawn
            previous = slot.end
        for comment in self._unused(previous, end):
            if _trails(comment, lines):
                lines[-1].comments.append(comment.text)
            else:
                self._blank(lines, opening, previous, comment.span.start)
                lines.append(Line(comment.text, inner))
            previous = comment.span.end
        return lines if closing is None else [*lines, closing]

    def _unused(self, start: int, end: int) -> list[tree.Comment]:
        low, high = bisect_left(self._starts, start), bisect_left(self._starts, end)
        found = [index for index in range(low, high) if index not in self._used]
        self._used.update(found)
        return [self.comments[index] for index in found]

    def _blank(self, lines: list[Line], opening: int, start: int, end: int) -> None:
        if len(lines) > opening and self.blank(start, end):
            lines.append(Line(""))

    def blank(self, start: int, end: int) -> bool:
        """Whether a blank line stands between two places."""
        between = self.text[start:end].split("\n")
        return any(not line.strip() for line in between[1:-1])


def _trails(comment: tree.Comment, lines: Sequence[Line]) -> bool:
    """Whether a comment can end the last line: it stood at a line's end, and none is there yet."""
    if comment.own_line or not lines or lines[-1].comments:
        return False
    return bool(lines[-1].text) and not lines[-1].text.startswith("#")


def _plain(part: SyntaxPart) -> bool:
    if isinstance(part, tree.Argument):
        return part.name is None and isinstance(part.value, _PLAIN)
    return isinstance(part, _PLAIN)


def _unary(node: tree.Unary) -> str:
    return "not " if node.operator == "not" else node.operator


def _sides(node: tree.Binary) -> tuple[int, int]:
    """How tightly the operands must bind to stand without parentheses."""
    own = level(node)
    if own == 4:
        return 5, 5
    return (_POSTFIX, _MINUS) if own == 8 else (own, own + 1)
