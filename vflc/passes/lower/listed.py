"""`vocab("stores.txt")`: the values of an encoder from a file beside the spec, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vflc_common.encoder import SHA256, SIZE
from vflc_common.listed import MOST_BYTES, SUFFIX, ListedError, values_of

from vflc.diagnostics import DiagnosticCollector, Span
from vflc.ir.listed import ListedFile
from vflc.passes.lower.modules import beside
from vflc.passes.lower.values import ABSENT, NO_FOLDER

BESIDE = (
    "use a .txt file in the folder of the spec or below it; so that other parties need not have it, give its "
    "sha256 and size"
)


def names_a_file(values: Any) -> bool:
    """Whether what an encoder was given are no values, but the name of a file of them."""
    return (
        isinstance(values, list)
        and len(values) == 1
        and isinstance(values[0], str)
        and values[0].endswith(SUFFIX)
    )


def read_listed(
    name: str, settings: Mapping[str, Any], span: Span, folder: Path | None, collector: DiagnosticCollector
) -> ListedFile | None:
    """The file of an encoder; None after a report.

    Args:
        name: of the file, as the spec has it.
        settings: of the encoder: what it says of the file's hash and size.
        span: of the encoder in the spec.
        folder: of the spec; None where it has none.
        collector: of mistakes.
    """
    sha256, size = settings.get(SHA256), settings.get(SIZE)
    path = NO_FOLDER if folder is None else beside(name, folder, folder, SUFFIX)
    if isinstance(path, str):
        if sha256 is None or size is None or not path.startswith((ABSENT, NO_FOLDER)):
            collector.error("VFL0108", path, span, BESIDE)
            return None
        return ListedFile(name, sha256, size)
    try:
        large = path.stat().st_size > MOST_BYTES
        content = b"" if large else path.read_bytes()
    except OSError as error:
        collector.error("VFL0108", f"{name} cannot be read: {error.strerror}", span, None)
        return None
    found = hashlib.sha256(content).hexdigest()
    if not large and sha256 not in (None, found):
        text = f"{name} is not the file that is meant: its SHA-256 is {found}"
        collector.error("VFL0722", text, span, "get the file that the spec was written for")
        return None
    try:
        if large:
            raise ListedError(f"is larger than {MOST_BYTES >> 20} MiB")
        values = values_of(content)
        if size not in (None, len(values)):
            raise ListedError(f"has {len(values):,} values, not {size:,}")
    except ListedError as wrong:
        collector.error("VFL0721", f"{name} {wrong}", span, "write one value a line, each once, in UTF-8")
        return None
    return ListedFile(name, found, len(values), content)
