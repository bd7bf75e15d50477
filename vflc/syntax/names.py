"""What a spec calls a column whose own name is none of the language."""

from __future__ import annotations

import re

from vflc_common.text import is_name


def identifier(text: str) -> str:
    """A name for a column with this one: `PT08_S1_CO` for `PT08.S1(CO)`."""
    words = "_".join(re.findall(r"\w+", text))
    return words if is_name(words) else f"c_{words}".rstrip("_")
