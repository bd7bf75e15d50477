"""Makes a bundle that was changed by hand whole again: hashes and digest as a compiler would write them."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from vflc_common.canonical import PAGE, digest


def sign(folder: Path) -> None:
    """Makes the manifest fit the files of the places that are there; it says nothing of a page."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["contents"] = {
        place: {
            file.name: sha256(file.read_bytes()).hexdigest()
            for file in (folder / place).iterdir()
            if file.is_file()
        }
        for place in manifest["places"]
        if (folder / place).is_dir()
    }
    manifest.pop(PAGE, None)
    manifest["digest"] = digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
