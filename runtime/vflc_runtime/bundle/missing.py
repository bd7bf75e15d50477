"""What does not yet go with a party that may lack rows."""

from __future__ import annotations

from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.errors import Failure


def refuse_missing(manifest: Manifest, what: str, help: str) -> None:
    """VFL0731 where a party may lack rows, of which `what` knows nothing."""
    if manifest.missing:
        text = f"{what} does not yet go with rows that a party lacks, as {manifest.missing[0]} may"
        raise Failure("VFL0731", text, help)
