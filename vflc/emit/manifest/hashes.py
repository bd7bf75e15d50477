"""What binds the files of a bundle to the digest that parties compare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from vflc_common.canonical import canonical
from vflc_common.words import FORMAT, KERAS_FOLDER

FileHashes = dict[str, str]
"""SHA-256 by the name of a file."""


def hashes(files: Mapping[str, bytes]) -> FileHashes:
    """The SHA-256 of each file."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def keras_folders(places: Mapping[str, Mapping[str, bytes]], digest: str) -> dict[str, bytes]:
    """The Keras files of each place in its folder, and keras.json with their hashes.

    They are not in the manifest, which is the same whatever backends a party has.
    """
    about = {
        "format": FORMAT,
        "digest": digest,
        "contents": {p: hashes(files) for p, files in places.items()},
    }
    return {
        "keras.json": canonical(about).encode(),
        **{
            f"{place}/{KERAS_FOLDER}/{name}": content
            for place, files in places.items()
            for name, content in files.items()
        },
    }
