"""Texts in small letters."""

from vflc_common.arrow import pc
from vflc_common.encoder import Encoder, EncoderSettings, Python
from vflc_common.encoding import of_texts


def lower(text: str, step: EncoderSettings) -> str:
    """Each code point by itself by its simple lower-case mapping: no rules for the ends of words, and
    U+0130 becomes `i`."""
    return "".join(c.lower()[0] for c in text)


ENCODER = Encoder(
    name="lower",
    doc="Converts text to lower case.",
    step="every code point by itself becomes its simple lower-case mapping (field 13 of UnicodeData.txt): no "
    "rules for the ends of words, U+0130 becomes U+0069",
    reads=("string", "strings"),
    python=Python(lower),
    encode=of_texts(lambda texts: pc.utf8_lower(texts)),
    may_empty=False,
)
