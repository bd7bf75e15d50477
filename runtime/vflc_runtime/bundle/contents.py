"""The files of a bundle as the hashes say: each is read once, hashed, and used from memory.

Whatever a place runs or reads comes from here, so that nothing can change between the check and
the use. The hashes of a place's own files stand in the manifest, under the digest that all parties
compare; those of the Keras backend, which each party is free to have, in keras.json, whose digest
parties compare where one of them runs it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vflc_common.listed import SUFFIX
from vflc_common.words import ENCODERS_FILE, KERAS_FOLDER

from vflc_runtime.bundle.reading import Json, damaged
from vflc_runtime.errors import Failure

PlaceHashes = Mapping[str, Mapping[str, str]]
"""Of each place, the SHA-256 of its files by name."""

_OF_VALUES = re.compile(r"-[0-9a-f]{12}" + re.escape(SUFFIX) + r"\Z")
"""What the name of a file of values has in a bundle behind the name that the spec gives it."""
_HASH = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Contents:
    """Files of a place by name, checked; `folder` says where they lay."""

    folder: Path
    files: Mapping[str, bytes] = field(repr=False)

    def read(self, name: str) -> bytes:
        """A file's bytes; VFL0613 where the bundle has no such file."""
        if name not in self.files:
            raise damaged(f"{self.folder / name} is missing")
        return self.files[name]

    def json(self, name: str) -> Json:
        """The document in a file; VFL0613 where it holds none."""
        return Json.parse(self.read(name), name)


def read_hashes(item: Json, places: Iterable[str]) -> dict[str, dict[str, str]]:
    """Hashes by place and file; VFL0613 where a place is missing or a name leads out of its folder."""
    found = {place: dict(_hash(name, each) for name, each in item[place].items()) for place in places}
    if set(found) != {place for place, _ in item.items()}:
        raise item.wrong(f"the places {', '.join(found)}")
    return found


def _hash(name: str, item: Json) -> tuple[str, str]:
    if not name or name in (".", "..") or set(name) & set("/\\\0"):
        raise item.wrong("the name of a file")
    if not _HASH.match(item.text()):
        raise item.wrong("a SHA-256")
    return name, item.text()


@dataclass(frozen=True, slots=True)
class KerasHashes:
    """What keras.json says: the hashes of the Keras files, and the SHA-256 of the list itself."""

    hashes: PlaceHashes = field(repr=False)
    digest: str


def read_keras_hashes(folder: Path, places: Iterable[str], digest: str, backend: str) -> KerasHashes | None:
    """The hashes of a bundle's Keras files; None where it was compiled without them.

    Those of a bundle with another digest are none, and VFL0613 where they are to be run.
    """
    path = folder / f"{KERAS_FOLDER}.json"
    if not path.is_file():
        return None
    listed = Json.read(path)
    if listed["digest"].text() != digest:
        if backend != KERAS_FOLDER:
            return None
        raise damaged(f"{path} belongs to another bundle than manifest.json")
    found = read_hashes(listed["contents"], places)
    text = json.dumps(found, sort_keys=True)
    return KerasHashes(found, hashlib.sha256(f"{digest}/{text}".encode()).hexdigest())


def open_contents(
    folder: Path, place: str, hashes: PlaceHashes, keras: KerasHashes | None, backend: str
) -> Contents:
    """The files of a place for a backend.

    Args:
        folder: of the bundle.
        place: whose files.
        hashes: those in the manifest.
        keras: those in keras.json.
        backend: `onnx` or `keras`.

    Raises:
        Failure: VFL0613 where a file is missing, is another than the hash says, or is not named; or
            where the bundle was compiled without the backend.
    """
    if backend != KERAS_FOLDER:
        own = folder / place
        if not (own / "plan.json").is_file() and (own / KERAS_FOLDER).is_dir():
            raise _no_plan(folder, backend)
        return Contents(own, _read(own, hashes[place]))
    if keras is None:
        raise _no_plan(folder, backend)
    own = folder / place / KERAS_FOLDER
    lists = [name for name in hashes[place] if name.endswith(SUFFIX)]
    beside = _read(folder / place, hashes[place], [ENCODERS_FILE, *lists])
    return Contents(own, _read(own, keras.hashes[place]) | beside)


def _read(folder: Path, hashes: Mapping[str, str], only: Iterable[str] | None = None) -> dict[str, bytes]:
    """The files of a folder, all or those named, which must be all that is in it."""
    if only is None and folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.name not in hashes and path.name != KERAS_FOLDER:
                raise damaged(f"{path} is not a file of this bundle")
    files = {}
    for name in hashes if only is None else only:
        path = folder / name
        if name in hashes and not path.is_file() and name.endswith(SUFFIX):
            raise _no_list(path, hashes[name])
        if name not in hashes or not path.is_file():
            raise damaged(f"{path} is missing")
        try:
            files[name] = path.read_bytes()
        except OSError as error:
            raise damaged(f"{path} cannot be read: {error.strerror}") from None
        if hashlib.sha256(files[name]).hexdigest() != hashes[name]:
            raise damaged(f"{path} was changed after it was compiled: it has another SHA-256")
    return files


def _no_list(path: Path, hash: str) -> Failure:
    """A file of values is not in the bundle: it was not beside the spec either, or it was removed."""
    called = _OF_VALUES.sub(SUFFIX, path.name)
    return Failure(
        "VFL0613",
        f"{path} is missing: the values of {called}, which this party's `vocab` takes from that file",
        f"put {called}, with the SHA-256 {hash}, where the spec names it, and compile the spec again",
    )


def _no_plan(folder: Path, backend: str) -> Failure:
    return Failure(
        "VFL0613",
        f"{folder} has no plan for engines that run {backend!r} files",
        f"compile the spec with it: `vflc compile SPEC --backend {backend} -o DIR`",
    )
