"""What to do about a statement that does not parse."""

from __future__ import annotations

import re

from vflc_common.text import quote
from vflc_common.words import is_column_type

from vflc.diagnostics.suggest import did_you_mean
from vflc.syntax.lalr import Token
from vflc.syntax.names import identifier
from vflc.syntax.tokens import KEYWORDS, Scan

_BLOCK = "block NAME(parameters) { …  return … }"
_FORMS = {
    "USE": "use library.{Block} or use \"file.vfl\".{Block}",
    "PARTY": "party NAME { key COLUMN  feature NAME: TYPE -> … }",
    "MISSING": "missing party allowed",
    "DROP": "drop PARTY 0.2",
    "ROWS": "rows per key one, or rows per key many",
    "KEY": "key COLUMN, or key COLUMN, COLUMN where several make it",
    "COLUMN": "feature Age: int -> standardize, or label old = Age > 60",
    "BLOCK": f"{_BLOCK}, or block NAME = onnx(\"FILE.onnx\")",
    "SCOPE": "global NAME = … at PLACE",
    "FUSE": "fuse at PLACE { name = … }",
    "PREDICT": "predict NAME = …, or predict NAME = … of COLUMN",
    "OBJECTIVE": "objective bce(logit, bob.liked)",
    "TRAIN": "train { batch 128  epochs 5 }",
    "SCHEDULE": "schedule { … }",
    "RELEASE": "release PARTY { activations at most 64 floats a row }",
    "PROTECT": "protect gradients to PARTY with …, protect VALUE with … or protect weights at PARTY with …",
    "ACCEPT": "accept CODE on gradients to PARTY because \"…\"",
}  # fmt: skip

_FOREIGN = {
    **dict.fromkeys(("import", "from", "include", "require"), f"use other files with: {_FORMS['USE']}"),
    **dict.fromkeys(("def", "function", "fn", "func", "class"), f"define a block with: {_BLOCK}"),
    **dict.fromkeys(("let", "var", "const", "val"), "bind a name with `name = …`, without a keyword"),
    **dict.fromkeys(("if", "while"), "there are no branches: use `where(condition, a, b)`"),
    "loss": "say what to minimise: objective bce(logit, bob.liked)",
    **dict.fromkeys(
        ("optimizer", "metrics", "batch", "epochs", "fit", "compile"),
        "put settings inside train: train { batch 128  epochs 5 }",
    ),
    "for": "write repetition as a comprehension: [mlp(h, [32]) for i in 1..3]",
}
"""What people write who come from other languages."""

NEAR = 4
"""So many tokens from its start a statement's form is likely what is wrong."""

_OPERATORS = ("COMMA", "PLUS", "MINUS", "STAR", "TIMES", "COMPARE")


def unfinished(scan: Scan, start: int, index: int) -> str:
    """Help where the statement from `start` ends before `index` and should not."""
    first, previous = scan.tokens[start], scan.tokens[index - 1]
    if previous.type in _OPERATORS:
        return f"write what follows `{previous}`, or remove it"
    if start == index - 1 and first.type == "NAME":
        return _foreign(scan, start) or "a statement starts with a keyword or with a name and `=`"
    return _form(first) or "complete the statement, or remove it"


def unexpected(scan: Scan, start: int, index: int, expected: frozenset[str]) -> str | None:
    """Help where token `index`, in the statement from `start`, does not fit."""
    found, body = scan.tokens[index], scan.bodies[index]
    first = scan.tokens[start]
    previous = scan.tokens[index - 1] if index else found
    if body == "settings" and (help := _in_settings(found, previous)):
        return help
    named = body == "party" and (previous.type in ("KEY", "COLUMN") or index - start == 2)
    if named and first.type in ("KEY", "COLUMN") and (help := _in_quotes(scan, start, index)):
        return help
    if help := _sign(found, previous, body, expected):
        return help
    if first.type == "NAME" and start >= index - 1:
        return _foreign(scan, start) or (
            f"bind a value with `{first} = …`; a statement starts with a keyword or with a name and `=`"
        )
    if body not in KEYWORDS and "COMMA" in expected and found.type in ("NAME", "NUMBER", "STRING"):
        return f"is a comma missing before `{short(found)}`?"
    if index - start <= NEAR and (help := _form(first)):
        return help
    if body in KEYWORDS and not scan.starts_line(index):
        return "add the operator or comma between them, or the `name =` of the next statement"
    return None


def misspelt(scan: Scan, start: int, index: int, help: str | None) -> Token | None:
    """The first word of the statement where the help is about that: `relase bob {`."""
    first = scan.tokens[start]
    return first if help and start == index - 1 and help == _foreign(scan, start) else None


def short(token: Token) -> str:
    """A token as messages quote it."""
    text = str(token)
    return text if len(text) <= 30 else text[:29] + "…"


def _in_quotes(scan: Scan, start: int, index: int) -> str | None:
    """Help where a column's name is more than a word: the name as it may be written."""
    first, found = scan.tokens[start], scan.tokens[index]
    end = re.compile(r"[:=#{}\n]|$").search(scan.source.text, first.end_pos)
    name = scan.source.text[first.end_pos : end.start()].strip() if end else ""
    inside = first.end_pos < found.start_pos <= first.end_pos + len(name)
    if not inside or is_column_type(found.value) or "," in name or name[:1] in "\"'":
        return None
    if first.type == "KEY":
        return f"put such a name in quotes: key {quote(name)}"
    return f"put it in quotes, and name it for the spec: {first} {quote(name)}: … as {identifier(name)}"


def _in_settings(found: Token, previous: Token) -> str | None:
    if previous.type == "DROP":
        return f"the syntax is: {_FORMS['DROP']}"
    if found.type in ("EQUAL", "COLON"):
        return f"write a setting without `{found}`: `{previous} 128`"
    if found.type == "RBRACE":
        return "give the setting a value: `shuffle true`"
    if found.type in ("NUMBER", "COMMA"):
        return (
            "write nothing between settings: `batch 128  epochs 5`; commas separate several values of one "
            "setting"
        )
    return None


def _sign(found: Token, previous: Token, body: str, expected: frozenset[str]) -> str | None:
    """Help that follows from the sign alone and where it stands."""
    match found.type:
        case "IF" if body != "[":
            return _FOREIGN["if"]
        case "EQUAL" | "COLON" if previous.type == "KEY":
            return f"write `key ID`, without `{found}`"
        case "COLON" if body == "[":
            return "write a range as `1..3`; it includes both ends"
        case "COLON" if body in ("record", "("):
            return f"write `{previous} = …`"
        case "COLON":
            return "use `=` to bind a value; `:` gives a party's column its type"
        case "EQUAL":
            return "use `==` to compare; `name = …` binds a name, once per statement"
        case "COMPARE" if "STAR" in expected:
            return "comparisons cannot be chained: write `a < b and b < c`"
        case "ARROW":
            return "use `->` only between a column's type and its encoders"
        case "COMMA" if body == "(":
            return "write a list as `[a, b]`, a record as `{a = …, b = …}`"
        case "DOT" if previous.type == "NAME" and "EQUAL" in expected:
            return "set a field where the record is written: `{a = …, b = …}`"
        case _:
            return None


def _foreign(scan: Scan, start: int) -> str | None:
    """Help about the first word of a statement that is none."""
    word, body = str(scan.tokens[start]), scan.bodies[start]
    if word in _FOREIGN:
        return _FOREIGN[word]
    if word in KEYWORDS["party"] and body != "party":
        return f"`{word}` belongs inside a party: {_FORMS['PARTY']}"
    guess = did_you_mean(word, KEYWORDS.get(body, ()))
    return f"did you mean `{guess}`?" if guess else None


def _form(first: Token) -> str | None:
    return f"the syntax is: {_FORMS[first.type]}" if first.type in _FORMS else None
