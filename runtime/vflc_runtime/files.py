"""Writing files so that they are there whole or not at all, also when the power fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vflc_runtime.errors import TOO_MANY, Failure, too_many_files


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a refusal of the disk into VFL0612, and one for want of descriptors into VFL0649."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = _number(error)
        if number in TOO_MANY:
            raise too_many_files(f"cannot write {path}", number) from None
        raise Failure(
            "VFL0612",
            # What the system says, without the names of files that only we know.
            f"cannot write {path}: {os.strerror(number) if number else error}",
            "free some space or choose another folder with --out; what was saved before is untouched",
        ) from None


def _number(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"(?:errno|os error) (\d+)", str(error))  # Arrow and safetensors put it into the text
    return int(found[1]) if found else None


def sync(path: Path) -> None:
    """Makes a file's content, or a folder's entries, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a new file and syncs it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def check_secret(path: Path) -> None:
    """VFL0659 where others than the owner of a private file and its group can read or change it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise Failure(
            "VFL0659",
            f"{path} is to be secret, and others can read or change it: its mode is {mode:04o}",
            f"chmod 600 {path}, and make a new one if somebody may have read it",
        )


def write_json(path: Path, content: Any) -> None:
    """Writes a new JSON file and syncs it."""
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


METADATA = "vflc"
"""The one entry of a safetensors file's metadata."""


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Writes a new safetensors file and syncs it.

    The metadata are one entry: safetensors orders several as it likes, and equal tensors with equal
    metadata are to be equal files.
    """
    # safetensors writes a view as if its memory were in one piece.
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(whole, path, metadata={METADATA: json.dumps(metadata, sort_keys=True)})
    sync(path)


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors and metadata of a safetensors file; VFL0614 where it cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            return {name: file.get_tensor(name) for name in names}, metadata
    except (OSError, SafetensorError, ValueError) as error:
        raise Failure("VFL0614", f"{path} cannot be read: {error}") from None


def replace_with(path: Path, content: bytes) -> None:
    """Replaces a file, or makes it, in one instant."""
    new = path.with_name(f".{path.name}.new")
    with writing(path):
        try:
            write_bytes(new, content)
            new.replace(path)
            sync(path.parent)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise


def link_or_copy(source: Path, target: Path) -> None:
    """Makes `target` the same file as `source`, in one instant; a copy where there are no links."""
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.link(source, new)
    except OSError:
        shutil.copyfile(source, new)
        sync(new)
    new.replace(target)


def remove(folder: Path) -> None:
    """Removes a folder so that no half of it is ever seen under its name."""
    doomed = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    with suppress(OSError):
        folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)
