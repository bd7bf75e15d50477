"""Ids by hashing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc_common.arrow import pa, pc
from vflc_common.encoder import (
    MOST_IDS,
    ArgumentType,
    Encoder,
    EncoderParameter,
    EncoderSettings,
    Python,
    Suits,
    is_whole,
    whole,
)
from vflc_common.hashes import fingerprint64, siphash
from vflc_common.numpy import np
from vflc_common.siphash import siphash as siphash_of_many

if TYPE_CHECKING:
    from vflc_common.backends import KerasBuilder
    from vflc_common.values import Values


def is_salt(salt: Any) -> bool:
    """Keras takes one number or a pair, of 64 bits each; none is the plain hash."""
    parts = salt if isinstance(salt, list) and len(salt) == 2 else [salt]
    return all(is_whole(part, 0, 2**64 - 1) for part in parts)


def encode(values: Values, settings: EncoderSettings) -> Values:
    """FarmHash's Fingerprint64, or SipHash-2-4 with a salt, of the text, modulo the buckets."""
    flat, salt, buckets = values.flat, settings.get("salt"), settings["buckets"]
    texts = flat.cast(pa.string()).fill_null("").to_pylist()
    if salt is None:
        import farmhash

        hashes = np.fromiter(map(farmhash.fingerprint64, texts), np.uint64, len(texts))
    else:
        low, high = (salt, salt) if isinstance(salt, int) else salt
        hashes = siphash_of_many([text.encode() for text in texts], low, high)
    ids = (hashes % np.uint64(buckets)).astype(np.int64)
    null = pc.is_null(flat).to_numpy(zero_copy_only=False)
    return values.with_flat(pa.array(ids, mask=null))


def hash_(value: Any, step: EncoderSettings) -> int:
    """A text's bytes in UTF-8, or a whole number's decimal digits, hashed, modulo the buckets."""
    data, salt = str(value).encode(), step.get("salt")
    if salt is None:
        return fingerprint64(data) % int(step["buckets"])
    low, high = salt if isinstance(salt, list) else (salt, salt)
    return siphash(data, low, high) % int(step["buckets"])


def keras(k: KerasBuilder, value: Any, settings: EncoderSettings) -> Any:
    """The empty text is hashed like any other, but among pieces, where it is none."""
    salt = settings.get("salt")
    hashed = k.layers.Hashing(settings["buckets"], salt=salt, name=k.name("hashing"))(value)
    if k.raw.type == "string" and not k.raw.many:
        return hashed
    instead = -1 if k.raw.many else k.raw.id_of(settings, None)
    return k.ops.where(k.absent(value), k.constant(instead, "int64"), hashed)


ENCODER = Encoder(
    name="hash",
    doc="The text's FarmHash Fingerprint64 modulo `buckets`, which are the buckets of Keras's `Hashing`; "
    "whole numbers are hashed as their decimal text. With `salt`, a whole number or a list of two, "
    "SipHash-2-4. Accepts every value.",
    step="the hash of the text's bytes in UTF-8 modulo `buckets`; a whole number is hashed as its decimal "
    "digits. Without `salt` FarmHash's Fingerprint64, with it SipHash-2-4, `salt` being the two 64-bit "
    "halves of the key, or one number that is both",
    reads=("string", "int", "strings", "ints"),
    gives="id",
    parameters=(
        EncoderParameter("buckets", whole(1, MOST_IDS), needed=True),
        EncoderParameter(
            "salt", ArgumentType("a whole number from 0 to 2**64 - 1, or a list of two", is_salt)
        ),
    ),
    python=Python(hash_),
    encode=encode,
    dear=True,
    codes=lambda settings: int(settings["buckets"]),
    suits=lambda settings: Suits(distinct=2 * int(settings["buckets"])),
    keras=keras,
)
