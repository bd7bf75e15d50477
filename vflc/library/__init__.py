"""The standard blocks, written in the language."""

from __future__ import annotations

import re
from collections.abc import Collection
from pkgutil import get_data


def library_names() -> list[str]:
    """The libraries that come with vflc."""
    from importlib.resources import files

    return sorted(p.name[:-4] for p in files("vflc.library").iterdir() if p.name.endswith(".vfl"))


def library_text(name: str, blocks: Collection[str]) -> str | None:
    """The text of a library with these blocks and what they use, in their own lines; all if none are named.

    Reading a whole library takes longer than compiling a model. None if there is no such library.
    """
    try:
        content = get_data("vflc.library", f"{name}.vfl")
    except FileNotFoundError:
        return None
    text = (content or b"").decode()
    before, *parts = re.split(r"^(?=block )", text, flags=re.MULTILINE)
    words = [re.findall(r"\w+", part) for part in parts]  # the second is the block's name
    of = {each[1]: each for each in words}
    if not blocks or not of.keys() >= set(blocks):
        return text
    wanted, new = set[str](), set(blocks)
    while new:
        wanted |= new
        new = {word for block in new for word in of[block] if word in of} - wanted
    kept = [p if each[1] in wanted else "\n" * p.count("\n") for p, each in zip(parts, words, strict=True)]
    return "".join([before, *kept])
