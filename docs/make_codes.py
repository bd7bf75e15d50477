"""Writes `codes.md`, the index of all diagnostics, from the registry of codes.

Run it as `python docs/make_codes.py`; a test fails where the page is not what this makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vflc.diagnostics.codes import CODES

PAGE = Path(__file__).parent / "codes.md"

GROUPS = {
    "VFL00": "Syntax",
    "VFL01": "Names",
    "VFL02": "Types and shapes",
    "VFL03": "Disclosure",
    "VFL04": "Placement",
    "VFL05": "Emission",
    "VFL06": "Data and runtime",
}


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield from ("# Codes", "")
    yield "Made by `docs/make_codes.py`. Every finding of vflc has one of these codes. Each has a page, which"
    yield from ("`vflc explain CODE` prints: what it means, an example, and what to do.", "")
    for prefix, title in GROUPS.items():
        yield from (f"## {title}", "", "| code | |", "| --- | --- |")
        for code, about in CODES.items():
            if code.startswith(prefix):
                yield f"| [{code}](../vflc/diagnostics/pages/{code}.md) | {about} |"
        yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
