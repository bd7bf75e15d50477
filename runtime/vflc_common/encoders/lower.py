"""Texts in small letters."""

from vflc_common.arrow import pc
from vflc_common.encoder import ArgumentType, Encoder, EncoderParameter, EncoderSettings, Python
from vflc_common.values import Values


def lower(text: str, step: EncoderSettings) -> str:
    """Each code point by itself by its simple lower-case mapping: no rules for the ends of words, and
    U+0130 becomes `i`."""
    if step.get("letters") is not None:
        return "".join(c.lower() if c.isascii() else c for c in text)
    return "".join(c.lower()[0] for c in text)


def encode(values: Values, settings: EncoderSettings) -> Values:
    change = pc.utf8_lower if settings.get("letters") is None else pc.ascii_lower
    return values.with_flat(change(values.flat))


ENCODER = Encoder(
    name="lower",
    doc='Converts text to lower case; with `letters = "ascii"` the letters A to Z alone.',
    step="every code point by itself becomes its simple lower-case mapping (field 13 of UnicodeData.txt): no "
    'rules for the ends of words, U+0130 becomes U+0069. With `letters` = "ascii" only A to Z change',
    reads=("string", "strings"),
    parameters=(
        EncoderParameter("letters", ArgumentType('the text "ascii"', lambda value: value == "ascii")),
    ),
    python=Python(lower),
    encode=encode,
    may_empty=False,
)
