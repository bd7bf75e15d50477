"""Of which sources an extension was built, so that one of other sources is not used."""

from hashlib import sha256
from pathlib import Path


def digest(folder: Path) -> str:
    """Of all sources of the extension, in hexadecimal."""
    made = sha256()
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.suffix in (".cpp", ".h"):
            content = path.read_bytes()
            made.update(f"{path.name} {len(content)}\n".encode() + content)
    return made.hexdigest()
