"""Texts without blanks around them."""

from vflc_common.arrow import pc
from vflc_common.encoder import Encoder, EncoderSettings, Python
from vflc_common.encoding import of_texts


def strip(text: str, step: EncoderSettings) -> str:
    """Without white space at its ends: the code points for which Unicode's White_Space holds, and U+001C to
    U+001F, as `str.strip` has it."""
    return text.strip()


ENCODER = Encoder(
    name="strip",
    doc="Removes white space at both ends of a text.",
    step="without white space at both ends: U+0009–000D, 001C–0020, 0085, 00A0, 1680, 2000–200A, 2028, 2029, "
    "202F, 205F, 3000",
    reads=("string", "strings"),
    python=Python(strip),
    encode=of_texts(lambda texts: pc.utf8_trim_whitespace(texts)),
)
