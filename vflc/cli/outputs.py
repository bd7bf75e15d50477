"""Files that a command writes: none that is there gives way unasked, and none that it reads."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click


def force(command: Any) -> Any:
    """The option `--force`."""
    return click.option("--force", is_flag=True, help="Replace an existing file.")(command)


def check_output(out: Path | None, force: bool, sources: Iterable[object] = ()) -> None:
    """VFL0623 where a file is there that may not give way, VFL0612 where its folder is not.

    Args:
        out: what will be written; None where nothing is.
        force: whether it may replace a file.
        sources: of tables that are read, which it may not.
    """
    from vflc_runtime.errors import Failure

    if out is not None and not out.parent.exists():
        raise Failure(
            "VFL0612", f"cannot write {out}: there is no folder {out.parent}", "make it, or name another"
        )
    if out is None or not out.exists() or not (out.is_file() or out.is_dir()):  # /dev/stdout is no loss
        return
    if any(_names(_text(source), out) for source in sources):
        raise Failure("VFL0623", f"{out} is an input of this command and would be lost", "write another file")
    if out.is_dir():
        raise Failure("VFL0623", f"{out} is a folder", "name a file")
    if not force:
        raise Failure("VFL0623", f"{out} already exists", "write another file, or replace it with --force")


def _text(source: Any) -> str:
    """A source as the user would name it from here; deploy.toml names it from where it lies."""
    folder = getattr(source, "folder", None)
    return str(source) if folder is None or str(source).startswith("sql:") else str(folder / str(source))


def _names(source: str, out: Path) -> bool:
    """Whether a source is, or has in its glob, the file; of a query, whether its text names it."""
    if source.startswith("sql:"):
        return out.name in source
    with suppress(OSError, ValueError):
        named = str(Path(source).expanduser())
        found = [named, *glob.glob(named, recursive=True)]  # noqa: PTH207 (it may be absolute)
        return any(Path(each).exists() and out.samefile(each) for each in found)
    return False
