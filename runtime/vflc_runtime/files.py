"""Writing files so that they are there whole or not at all, also when the power fails."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from vflc_runtime import tensors
from vflc_runtime.errors import TOO_MANY, Failure, too_many_files
from vflc_runtime.tensors import AnyTensor

_FULL = (errno.ENOSPC, errno.EDQUOT, None)
_ROOM = "free some space or choose another folder"


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
            f"{_ROOM if number in _FULL else 'choose another place'}; what was saved before is untouched",
        ) from None


def _number(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"(?:[Ee]rrno|os error) (\d+)", str(error))  # so say Arrow, safetensors, shutil
    return int(found[1]) if found else None


def read_json(file: Path, shape: Any = Any) -> Any:
    """What a JSON file holds; OSError where there is none, ValueError where it is nothing of that `shape`."""
    try:
        found = json.loads(file.read_bytes())
        msgspec.convert(found, shape)
    except (RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(f"{file} does not hold what it should: {error}") from None
    return found


def sync(path: Path) -> None:
    """Makes a file's content, or a folder's entries, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


PRIVATE = 0o600
"""What files get that hold something of a party's own: its owner alone may read them."""


def private(path: Path | str, flags: int) -> int:
    """Opens a file for its owner alone; as `opener` of `open`. One that is there becomes private."""
    descriptor = os.open(path, flags, PRIVATE)
    if os.fstat(descriptor).st_mode & 0o077:
        os.fchmod(descriptor, PRIVATE)
    return descriptor


def make_folder(path: Path) -> None:
    """Makes a folder for its owner alone, where there is none, and those above it as usual."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a new file that its owner alone may read, and syncs it."""
    with open(path, "wb", opener=private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def check_secret(path: Path) -> None:
    """VFL0659 where others than the owner of a private file and its group can read or change it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise Failure(
            "VFL0659",
            f"{path} must be secret, but others can read or change it: its mode is {mode:04o}",
            f"chmod 600 {path}, and make a new secret if somebody may have read it",
        )


def write_json(path: Path, content: Any) -> None:
    """Writes a new JSON file and syncs it."""
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


METADATA = "vflc"
"""The one entry of a safetensors file's metadata."""


def write_tensors(path: Path, given: Mapping[str, AnyTensor], metadata: Mapping[str, str]) -> str:
    """Writes tensors of any shape [*] to a new file that its owner alone may read, and syncs it.

    The metadata are one entry: safetensors orders several as it likes, and equal tensors with equal
    metadata are to be equal files.

    Returns:
        The file's SHA-256, as `checksums` gives it.
    """
    seen = hashlib.sha256()
    with open(path, "wb", opener=private) as file:
        for part in tensors.content(given, {METADATA: json.dumps(metadata, sort_keys=True)}):
            seen.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return seen.hexdigest()


def replace_tensors(path: Path, given: Mapping[str, AnyTensor], metadata: Mapping[str, str]) -> str:
    """As `write_tensors`, in place of a file, in one instant."""
    new = path.with_name(f".{path.name}.new")
    try:
        seen = write_tensors(new, given, metadata)
        new.replace(path)
        sync(path.parent)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    return seen


MAPPED_BYTES = 1 << 24
"""From this size on a file of tensors is not read before somebody reads them."""


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors of any shape [*] and metadata of a safetensors file; VFL0621 where it cannot be read.

    Those of a large file lie in it: nobody writes into a file of tensors, others replace it.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
            words = msgspec.convert(metadata, dict[str, str])
            if path.stat().st_size >= MAPPED_BYTES:
                return tensors.mapped(path), words
            return {name: file.get_tensor(name) for name in names}, words
    except (OSError, SafetensorError, ValueError, RecursionError, KeyError, msgspec.MsgspecError) as error:
        raise Failure("VFL0621", f"{path} cannot be read: {error}") from None


def replace_with(path: Path, content: bytes, private: bool = True) -> None:
    """Replaces a file, or makes it, in one instant; for its owner alone, or for all where not `private`."""
    new = path.with_name(f".{path.name}.new")
    with writing(path):
        try:
            write_bytes(new, content) if private else new.write_bytes(content)
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
        os.close(private(new, os.O_WRONLY | os.O_CREAT))
        shutil.copyfile(source, new)
        sync(new)
    new.replace(target)


SUMS = "SHA256SUMS"
"""A file of checksums, as `sha256sum --check` reads it."""


def checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of files below a folder, by their names."""
    found = {}
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def sums_content(sums: Mapping[str, str]) -> bytes:
    """The content of a file of checksums."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()


def read_sums(folder: Path) -> dict[str, str]:
    """The checksums in a folder by name; none where there is no such file, or it holds something else."""
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def differing(folder: Path, sums: Mapping[str, str], names: Iterable[str]) -> str | None:
    """The first of these files that is missing or is not what its checksum says, in words; else None."""
    for name in sorted(names):
        try:
            found = checksums(folder, [name])[name]
        except FileNotFoundError:
            return f"{folder / name} is missing"
        except OSError as error:
            return f"{folder / name} cannot be read ({error.strerror})"
        if found != sums.get(name):
            return f"{folder / name} is damaged"
    return None


def remove(folder: Path) -> None:
    """Removes a folder so that no half of it is ever seen under its name."""
    doomed = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    with suppress(OSError):
        folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)
