"""From characters to tokens: which words are keywords, and brackets that always match.

What cannot be read is reported here and mended (a stray character is left out, a missing
bracket is put in with no width), so that the parser sees a stream that is whole and its own
complaints are about something else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from msgspec import Struct, field

from vflc.diagnostics import DiagnosticCollector, RelatedSpan, SourceText, Span
from vflc.syntax.lalr import Token
from vflc.syntax.tree import Comment

MAX_BRACKETS = 150
"""Deeper brackets are a finding: what comes after the parser walks the tree by recursion."""

OPENERS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
CLOSERS = {close: open_ for open_, close in OPENERS.items()}
_TEXT = {"LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}"}

_TOP = {
    "use": "USE", "party": "PARTY", "population": "PARTY", "block": "BLOCK", "fuse": "FUSE",
    "predict": "PREDICT", "objective": "OBJECTIVE", "train": "TRAIN", "schedule": "SCHEDULE",
    "release": "RELEASE", "protect": "PROTECT", "accept": "ACCEPT", "global": "SCOPE", "local": "SCOPE",
}  # fmt: skip
_COLUMNS = {
    "key": "KEY", "rows": "ROWS", "missing": "MISSING",
    **dict.fromkeys(("feature", "column", "label", "weight"), "COLUMN"),
}  # fmt: skip
_SCOPES = {"global": "SCOPE", "local": "SCOPE"}

KEYWORDS: dict[str, dict[str, str]] = {
    "top": _TOP,
    "party": _COLUMNS,
    "block": {"return": "RETURN", **_SCOPES},
    "bindings": _SCOPES,
    "settings": {"freeze": "FREEZE", "drop": "DROP"},
    "release": {},
}
"""Words that start a statement, by the kind of body they stand in, with their terminals."""

STATEMENTS = frozenset(t for words in KEYWORDS.values() for t in words.values())
_HEADS = {
    "party": "party", "population": "party", "train": "settings", "schedule": "settings",
    "release": "release", "fuse": "bindings", "block": "block",
}  # fmt: skip
_INFIX = {"at": "AT", "of": "OF", "for": "FOR", "in": "IN", "if": "IF", "and": "AND", "or": "OR"}
_OF_PROTECT = {"on": "ON", "to": "TO", "with": "WITH", "because": "BECAUSE"}
_ALWAYS = {"not": "NOT", "true": "TRUE", "false": "FALSE"}
WORDS = frozenset(
    {"weights", "as", "by", "where", "gradients", *_INFIX, *_OF_PROTECT, *_ALWAYS}
    | {word for words in KEYWORDS.values() for word in words}
)
"""Words that may be something else than a name."""
NAMED_NEXT = {
    "USE", "PARTY", "KEY", "ROWS", "MISSING", "DROP", "COLUMN", "AS", "BLOCK", "SCOPE", "PREDICT", "PROTECT",
    "ACCEPT",
}  # fmt: skip
OPERAND_END = {"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "RPAR", "RSQB", "RBRACE"}


class Scan(Struct):
    """The tokens of a source and what was found on the way to them."""

    source: SourceText
    tokens: list[Token]
    comments: tuple[Comment, ...]
    bodies: list[str] = field(default_factory=list)
    """For each token the kind of body it stands in: a key of KEYWORDS, or an expression's
    bracket: "(", "[", "record", "bounds", "names"."""
    broken: set[int] = field(default_factory=set)
    """Starts of tokens that stand for text already complained about."""
    damaged: set[int] = field(default_factory=set)
    """Starts of tokens, each in a statement that does not say what its author meant."""

    def span(self, token: Token) -> Span:
        return Span(self.source, token.start_pos, token.end_pos)

    def starts_line(self, index: int) -> bool:
        if index == 0:
            return True
        start = self.tokens[index - 1].end_pos
        return "\n" in self.source.text[start : self.tokens[index].start_pos]

    def is_boundary(self, index: int) -> bool:
        """Whether a statement starts here, by the look of it."""
        token, body = self.tokens[index], self.bodies[index]
        if token.type in STATEMENTS:
            return True
        if token.type != "NAME" or body not in KEYWORDS:
            return False
        if body in ("top", "block", "bindings"):
            if index and self.tokens[index - 1].type in {*NAMED_NEXT, "DOT"}:
                return False
            return index + 1 < len(self.tokens) and self.tokens[index + 1].type == "EQUAL"
        return body == "settings" and self.starts_line(index) and self.tokens[index - 1].type != "COMMA"


def scan(
    source: SourceText, tokens: Iterable[Token], ignored: Iterable[Token], collector: DiagnosticCollector
) -> Scan:
    """Classifies the lexer's tokens; `ignored` are comments and what no token begins with."""
    comments: list[Comment] = []
    strays: list[int] = []
    result = Scan(source, list(tokens), ())
    for token in ignored:
        if token.type == "COMMENT":
            comments.append(_comment(source, token))
        elif token.type == "OPEN_STRING":
            collector.error(
                "VFL0003",
                "this string is not closed",
                Span(source, token.start_pos, token.start_pos + 1),
                f"end it with {token.value[0]}; inside a string, write \\n for a line break",
            )
            result.broken.add(token.start_pos)
            result.tokens.append(_like(token, "STRING", token.value[0] * 2))
        elif token.value[0].isdecimal():
            result.broken.add(token.start_pos)
            result.tokens.append(_like(token, "NUMBER", "0"))
        else:
            strays.append(token.end_pos)
    if result.broken or strays:
        result.tokens.sort(key=lambda token: token.start_pos)
    starts = [token.start_pos for token in result.tokens] if strays else []
    for end in strays:
        after = bisect_left(starts, end)
        result.broken.update(starts[after : after + 1])
    result.comments = tuple(comments)
    result.damaged.update(result.broken)
    brackets = [token for token in result.tokens if token.type in _TEXT]
    if (deep := _too_deep(brackets)) is not None:
        collector.error(
            "VFL0006",
            f"brackets are nested more than {MAX_BRACKETS} levels deep",
            result.span(deep),
            "bind parts to names; the rest of this file was not read",
        )
        result.tokens = []
        return result
    if not _balanced(brackets):
        _match(result, collector)
    result.bodies = _bodies(result.tokens)
    _classify(result)
    return result


def _comment(source: SourceText, token: Token) -> Comment:
    start = token.start_pos
    before = source.text[source.text.rfind("\n", 0, start) + 1 : start]
    text = token.value.rstrip()
    return Comment(text, not before.strip(), Span(source, start, start + len(text)))


def _like(token: Token, kind: str, value: str) -> Token:
    return Token(kind, value, token.start_pos, token.end_pos)


# --- brackets -----------------------------------------------------------------------------------


def _too_deep(brackets: list[Token]) -> Token | None:
    depth = 0
    for token in brackets:
        depth += (token.type in OPENERS) - (token.type in CLOSERS and depth > 0)
        if depth > MAX_BRACKETS:
            return token
    return None


def _balanced(brackets: list[Token]) -> bool:
    open_: list[str] = []
    for token in brackets:
        if token.type in OPENERS:
            open_.append(token.type)
        elif not open_ or open_.pop() != CLOSERS[token.type]:
            return False
    return not open_


def _match(scan: Scan, collector: DiagnosticCollector) -> None:
    """Makes brackets match, of which some do not: by indentation."""
    out: list[Token] = []
    stack: list[Token] = []
    head = 0  # where in `out` the last statement starts that a block should follow
    text = scan.source.text
    strings = {scan.source.position(start)[0] for start in scan.broken}

    def close(at: int, noticed: Token | None) -> None:
        opener = stack.pop()
        out.append(Token(OPENERS[opener.type], _TEXT[OPENERS[opener.type]], at, at))
        scan.broken.add(at)
        scan.damaged.add(opener.start_pos)
        if scan.span(opener).line not in strings:
            _report_open(scan, opener, noticed, collector)

    for index, token in enumerate(scan.tokens):
        end = out[-1].end_pos if out else 0
        if token.type in CLOSERS:
            wanted = CLOSERS[token.type]
            if token.type == "RBRACE" and not stack and (last := _headless(out, head)) is not None:
                place, at = scan.span(out[last]), out[last].end_pos
                label = RelatedSpan(scan.span(token), "what it opens ends here")
                collector.error("VFL0002", f"`{{` is missing after `{out[last]}`", place, "add `{`", label)
                out.insert(last + 1, Token("LBRACE", "{", at, at))
                out.append(token)
                continue
            if all(opener.type != wanted for opener in stack):
                if scan.span(token).line not in strings:
                    message = f"`{token}` has no opening bracket"
                    collector.error(
                        "VFL0002", message, scan.span(token), "remove it, or add the opening bracket"
                    )
                if index + 1 < len(scan.tokens):  # what follows may be misread for want of it
                    scan.broken.add(scan.tokens[index + 1].start_pos)
                continue
            while stack[-1].type != wanted:
                close(end, token)
            stack.pop()
        elif stack and scan.starts_line(index) and _may_start(scan.tokens, index):
            while stack and _indent(text, token) <= _indent(text, stack[-1]):
                close(end, token)
        if token.type in OPENERS:
            stack.append(token)
        elif not stack and token.value in _HEADS and scan.starts_line(index):
            head = len(out)
        out.append(token)
    while stack:
        close(out[-1].end_pos if out else 0, None)
    scan.tokens = out


def _headless(tokens: list[Token], start: int) -> int | None:
    """Where the head ends that starts there, as `alice` of `party alice`, if no `{` follows it."""
    if start == len(tokens) or tokens[start].value not in _HEADS:
        return None
    size = {"fuse": 3, "train": 1, "block": 0}.get(tokens[start].value, 2)
    if [token.value for token in tokens[start : start + 2]] == ["train", "reconstruct"]:
        size = 2
    words = tokens[start : start + size + 1]
    whole = 0 < size < len(words) and all(word.value.isidentifier() for word in words)
    return start + size - 1 if whole else None


def _report_open(scan: Scan, opener: Token, noticed: Token | None, collector: DiagnosticCollector) -> None:
    close = _TEXT[OPENERS[opener.type]]
    if noticed is None:
        end = len(scan.source.text.rstrip())
        collector.error(
            "VFL0002",
            f"the file ends before `{opener}` is closed",
            Span(scan.source, end, end),
            f"add `{close}`",
            RelatedSpan(scan.span(opener), "opened here"),
        )
        return
    collector.error(
        "VFL0002",
        f"`{opener}` is never closed",
        scan.span(opener),
        f"add `{close}`",
        RelatedSpan(scan.span(noticed), "it is still open here"),
    )


def _may_start(tokens: list[Token], index: int) -> bool:
    word = tokens[index].value
    following = tokens[index + 1].type if index + 1 < len(tokens) else ""
    return word in _TOP or word in _COLUMNS or word == "return" or following == "EQUAL"


def _indent(text: str, token: Token) -> int:
    start = text.rfind("\n", 0, token.start_pos) + 1
    line = text[start : token.start_pos]
    return len(line) - len(line.lstrip())


# --- words --------------------------------------------------------------------------------------


def _bodies(tokens: list[Token]) -> list[str]:
    """For each token the kind of body it stands in."""
    stack, found = ["top"], list[str]()
    for index, token in enumerate(tokens):
        if token.type in CLOSERS and len(stack) > 1:
            stack.pop()
        found.append(stack[-1])
        if token.type in OPENERS:
            stack.append(_kind(tokens, index, stack[-1]))
    return found


def _kind(tokens: list[Token], index: int, outer: str) -> str:
    """What a bracket holds, by the words before it."""
    if tokens[index].type != "LBRACE":
        return str(tokens[index])
    before = tokens[index - 1] if index else None
    if before is not None and before.type == "DOT":
        return "names"
    following = tokens[index + 1].type if index + 1 < len(tokens) else ""
    if following == "NUMBER":
        return "bounds"
    if outer != "top":
        return "record"
    if before is not None and before.type == "RPAR":
        return "block"
    for token in reversed(tokens[max(0, index - 4) : index]):
        if not token.value.isidentifier():
            break
        if token.value in _HEADS:
            return _HEADS[token.value]
    return "record"


def _classify(scan: Scan) -> None:
    """Finds the types of words, left to right: keywords where they can be, names elsewhere.

    A word of another type than it had is another token: those of the lexer are shared with other versions.
    """
    tokens, protecting = scan.tokens, False
    for index, token in enumerate(tokens):
        if not token.value.isidentifier():
            continue
        body, type = scan.bodies[index], "NAME"
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        bound = following is not None and following.type == "EQUAL"
        if token.value in WORDS and not bound:
            type, protecting = _type(scan, index, body, following, protecting)
        elif bound:
            protecting = protecting and body != "top"
        if type != token.type:
            tokens[index] = _like(token, type, token.value)


def _type(scan: Scan, index: int, body: str, following: Token | None, protecting: bool) -> tuple[str, bool]:
    """The type of a word that may be a keyword, and whether `protect` or `accept` goes on behind it."""
    tokens, word = scan.tokens, scan.tokens[index].value
    before = tokens[index - 1].type if index else ""
    keyword = KEYWORDS.get(body, {}).get(word)
    if body == "release" or before == "DOT":
        return "NAME", protecting
    if keyword and _starts(scan, index, before):
        return keyword, keyword in ("PROTECT", "ACCEPT")
    if before == "PROTECT" and word == "weights" and _is_of_weights(following):
        return "WEIGHTS", protecting
    if before in NAMED_NEXT and not (protecting and word == "gradients"):
        return "NAME", protecting
    if word == "as" and body == "party" and _is_type(tokens, index - 1):
        return "AS", protecting
    ended = before in OPERAND_END
    in_protect = protecting and body == "top"
    if word in _INFIX and (ended or before in ("FUSE", "WEIGHTS") or (in_protect and before == "STAR")):
        return _INFIX[word], protecting
    if word == "by" and body == "settings" and ended:
        return "BY", protecting
    if word in _ALWAYS:
        return _ALWAYS[word], protecting
    if body == "settings" and word == "where" and tokens[index - 1].value == "validation":
        return "WHERE", protecting
    if in_protect and word in _OF_PROTECT:
        return _OF_PROTECT[word], protecting
    if word == "gradients" and following is not None and following.value == "to" and protecting:
        return "GRADIENTS", protecting
    return "NAME", protecting


def _is_type(tokens: list[Token], index: int) -> bool:
    """Whether a column's type stands there: `as` after it gives the column its name in the spec."""
    before = [token.type for token in tokens[max(index - 2, 0) : index + 1]]
    if before in (["LPAR", inside, "RPAR"] for inside in ("NUMBER", "NAME", "STRING")):
        index -= 3  # `vector(8)`, `list(int)`, `float(",")`
    return index > 0 and tokens[index].type == "NAME" and tokens[index - 1].type == "COLON"


def _is_of_weights(following: Token | None) -> bool:
    """Whether `protect weights` goes on as in `weights at alice`: not for a value of that name."""
    return following is not None and following.type != "DOT" and following.value != "with"


def _starts(scan: Scan, index: int, before: str) -> bool:
    if before in NAMED_NEXT or (
        index > 1 and scan.tokens[index - 2].type == "ROWS" and scan.tokens[index - 1].value == "per"
    ):
        return False  # `rows per key many`
    if not before or before in OPERAND_END or before == "LBRACE":
        return True
    # After an operator the word is most likely an operand, unless its line reads like a statement.
    tokens = scan.tokens[index + 1 : index + 3]
    looks = bool(tokens) and tokens[0].value.isidentifier() and tokens[0].value not in _INFIX
    return looks and scan.starts_line(index) and not (len(tokens) > 1 and tokens[1].type == "EQUAL")
