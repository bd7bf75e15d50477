"""The words of a text."""

from __future__ import annotations

import re

from vflc_common.arrow import pc
from vflc_common.encoder import Encoder, EncoderSettings, Python, Suits
from vflc_common.encoding import without_empty
from vflc_common.values import Values

BLANKS = re.compile("[\t-\r ]+")
"""What stands between words: the six blanks of ASCII, as in TensorFlow. ONNX splits at U+0020 alone."""


def encode(values: Values, settings: EncoderSettings) -> Values:
    """Pieces between blanks; empty pieces are none."""
    return without_empty(pc.ascii_split_whitespace(values.flat.fill_null("")))


def words(value: str | None, step: EncoderSettings) -> list[str]:
    return [word for word in BLANKS.split(value or "") if word]


ENCODER = Encoder(
    name="words",
    doc="Splits text at blanks, tabs and ends of lines into several values per row; several of them together "
    "count as one.",
    step="the pieces between U+0009–000D and U+0020, from left to right; empty pieces are none, and missing "
    "text has none. Later steps are done for each piece",
    reads=("string",),
    gives="strings",
    python=Python(words, "missing"),
    encode=encode,
    suits=lambda settings: Suits(separator=" "),
    known_as={
        "tokenize tokenizer textvectorization": 'write lower -> words -> vocab("a", "b", default = other)',
    },
)
