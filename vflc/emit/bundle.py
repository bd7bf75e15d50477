"""A compiled bundle: files in memory, written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from msgspec import Struct

from vflc.diagnostics import Diagnostic
from vflc.ir.stages import Scheduled, Vectorised


class Bundle(Struct, frozen=True):
    """What the compiler made of a spec.

    Args:
        manifest: as in `manifest.json`.
        files: content by path inside the bundle.
        warnings: findings that did not stop the compilation.
        model: the scheduled model that the files came from.
    """

    manifest: dict[str, Any]
    files: dict[str, bytes]
    warnings: list[Diagnostic]
    model: Scheduled | Vectorised

    def write(self, folder: Path) -> None:
        """Writes the bundle to `folder`, replacing a bundle that is there.

        Raises:
            FileExistsError: `folder` holds something that is no bundle.
            OSError: it cannot be written; what was there is untouched.
        """
        if folder.exists() and not _replaceable(folder):
            raise FileExistsError(f"{folder} is there and is no bundle")
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for name, content in self.files.items():
                path = fresh / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            fresh.chmod(0o755)
            _swap(fresh, folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and ((folder / "manifest.json").is_file() or not any(folder.iterdir()))


def _swap(fresh: Path, folder: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
        return
    old = fresh.with_name(fresh.name + "-old")
    folder.rename(old)
    try:
        fresh.replace(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
