"""Colours of the language in pages: a lexer of Pygments."""

from __future__ import annotations

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text

__all__ = ["VflLexer"]

NAME = r"[^\W\d]\w*"
STATEMENTS = (
    "use", "party", "population", "key", "rows", "missing", "feature", "column", "label", "weight", "block",
    "return", "global", "local", "fuse", "predict", "objective", "train", "schedule", "release", "protect",
    "accept", "freeze", "drop",
)  # fmt: skip
"""Words that start a statement, at the start of a line."""
WORDS = (
    "at",
    "of",
    "for",
    "in",
    "if",
    "and",
    "or",
    "not",
    "with",
    "on",
    "to",
    "because",
    "by",
    "as",
    "where",
)


class VflLexer(RegexLexer):
    """Cuts a spec into tokens with colours; like editors' grammars it looks at words, not at the whole."""

    name, aliases, filenames = "vfl", ["vfl"], ["*.vfl"]
    tokens: ClassVar = {
        "root": [
            (r"#[^\n]*", Comment.Single),
            (r"\s+", Text),
            (r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', String),
            (rf"(->)(\s*)({NAME})", bygroups(Operator, Text, Name.Decorator)),
            (
                rf"(?<![\w.])(party|population|block)(\s+)({NAME})",
                bygroups(Keyword, Text, Name.Class),
            ),
            (
                words(STATEMENTS, prefix=r"(?:^|(?<=\n)|(?<=[{;] )|(?<=\s))", suffix=r"\b(?!\s*=)"),
                Keyword,
            ),
            (words(WORDS, prefix=r"\b", suffix=r"\b(?!\s*=)"), Keyword),
            (r"\b(true|false)\b", Keyword.Constant),
            (r"\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d[\d_]*)?", Number),
            (rf"({NAME})(?=\()", Name.Function),
            (NAME, Name),
            (r"\*\*|//|\.\.|[=!<>]=|[-+*/%@<>=]", Operator),
            (r"[\[\](){},.:]", Punctuation),
            (r".", Text),
        ]
    }
