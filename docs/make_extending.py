"""Puts the files of `docs/example` into `extending.md`, below the comments that name them.

Run it as `python docs/make_extending.py`; a test fails where the page is not what this makes.
"""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parent / "extending.md"
QUOTED = re.compile(r"<!-- file: (\S+) -->\n(?:\n```\w+\n.*?^```\n)?", re.MULTILINE | re.DOTALL)


def page() -> str:
    """The whole page."""

    def quoted(found: re.Match[str]) -> str:
        path = PAGE.parent / found[1]
        content = path.read_text("utf-8")
        return f"<!-- file: {found[1]} -->\n\n```{path.suffix[1:].replace('py', 'python')}\n{content}```\n"

    return QUOTED.sub(quoted, PAGE.read_text("utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
