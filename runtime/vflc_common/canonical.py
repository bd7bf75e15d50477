"""The one form that data has in a bundle, and the digest by which parties compare theirs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

DIGEST = "digest"
"""The name that a document has its own digest under, which is over everything else in it."""
PAGE = "page_sha256"
"""The name that a manifest has the hash of its page under, as it is for a person to read."""


def canonical(data: Any) -> str:
    """JSON that is the same for equal data: sorted keys, one form of white space.

    Raises:
        ValueError: a number is not finite.
    """
    # With `indent`, json.dumps writes the same in plain Python, four times as slowly.
    dense = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    shown = msgspec.json.format(dense.encode("utf-8", "surrogatepass"), indent=1)
    return shown.decode("utf-8", "surrogatepass") + "\n"


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form of a document without its own digest; raises as `canonical`."""
    content = {key: value for key, value in document.items() if key != DIGEST}
    return hashlib.sha256(canonical(content).encode("utf-8", "surrogatepass")).hexdigest()


def signed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its digest; raises as `canonical`."""
    return {**document, DIGEST: digest(document)}


def page_sha256(page: bytes, digest: str) -> str:
    """SHA-256 of a manifest's page but for the digest in it, which is over this hash, too."""
    return hashlib.sha256(page.replace(f"`{digest}`".encode(), b"``", 1)).hexdigest()
