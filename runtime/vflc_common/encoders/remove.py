"""Texts without some characters."""

from __future__ import annotations

from vflc_common.arrow import pc
from vflc_common.encoder import TEXT, Encoder, EncoderParameter, EncoderSettings, Python
from vflc_common.values import Values


def remove(text: str, step: EncoderSettings) -> str:
    return "".join(c for c in text if c not in step["characters"])


def encode(values: Values, settings: EncoderSettings) -> Values:
    """Without any of the characters, wherever they stand."""
    pattern = "|".join(f"\\x{{{ord(character):X}}}" for character in settings["characters"])
    return values.with_flat(pc.replace_substring_regex(values.flat, pattern=pattern, replacement=""))


ENCODER = Encoder(
    name="remove",
    doc='Removes each of the `characters` from a text: `remove(".,!?")`.',
    step="without any of the code points in `characters`",
    reads=("string", "strings"),
    parameters=(EncoderParameter("characters", TEXT, needed=True),),
    python=Python(remove),
    encode=encode,
)
