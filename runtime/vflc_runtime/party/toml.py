"""Reads a TOML file that a person wrote: a mistake is shown at its line, an unknown key is one."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from vflc_runtime.errors import Failure, Where

CODE = "VFL0654"
MOST_BYTES, MOST_LINE = 1 << 16, 1 << 11
"""Of a file, and of one of its lines."""
_HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_AT = re.compile(r"\(at line (\d+), column (\d+)\)")

Path_ = tuple[str, ...]


class TomlTable:
    """A table of the file; what is asked of it is checked, and what nobody asks for is a mistake.

    Every way in which the content is wrong is VFL0654.
    """

    def __init__(self, file: Path, text: str, content: dict[str, Any], path: Path_ = ()) -> None:
        self._file, self._text, self._content, self.path = file, text, content, path

    @classmethod
    def read(cls, file: Path) -> TomlTable:
        """The whole file."""
        try:
            text = _bounded(file).decode("utf-8-sig")
        except OSError as error:
            raise Failure(
                CODE, f"{file} cannot be read: {error.strerror}", "write one: see docs/network.md"
            ) from None
        except UnicodeDecodeError:
            raise Failure(CODE, f"{file} is not UTF-8", "save it as UTF-8") from None
        try:
            return cls(file, text, tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            at = _AT.search(str(error))
            line, column = (int(at[1]), int(at[2])) if at else (1, 1)
            lines = _lines(text)
            if not at:  # "at end of document"
                line, column = len(lines), 1
            shown = lines[min(line, len(lines)) - 1]
            where = _where(file, line, column, max(column + 1, len(shown) + 1), shown)
            reason = _AT.sub("", str(error)).strip()
            raise Failure(CODE, f"{file.name} is not TOML: {reason}", "correct this line", where) from None

    @property
    def folder(self) -> Path:
        """The file's folder, to which paths in it are relative."""
        return self._file.parent

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def only(self, keys: Collection[str]) -> TomlTable:
        """This table; VFL0654 where it has another key than these."""
        for key in self._content:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                help = f"did you mean {near[0]!r}?" if near else f"use one of: {', '.join(sorted(keys))}"
                raise self.wrong(key, f"there is no setting {key!r}{self._inside()}", help)
        return self

    def table(self, key: str) -> TomlTable:
        """The table `key`; an empty one where it is not there."""
        content = self._content.get(key, {})
        if not isinstance(content, dict):
            raise self.wrong(key, f"{key!r} must be a table", f"write [{'.'.join((*self.path, key))}]")
        return TomlTable(self._file, self._text, content, (*self.path, key))

    def text(self, key: str) -> str | None:
        """The text `key`; None where it is not there."""
        value = self._content.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise self.wrong(key, f"{key} must be a text, found {_shown(value)}", f'write {key} = "…"')
        return value

    def number(self, key: str, least: float, default: float) -> float:
        """The number `key`, more than `least`."""
        value = self._content.get(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least < value < 1e9:
            raise self.wrong(key, f"{key} must be a number above {least:g}, found {_shown(value)}", None)
        return float(value)

    def integer(self, key: str) -> int | None:
        """The whole number `key`, at least 1; None where it is not there."""
        value = self._content.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise self.wrong(key, f"{key} must be a whole number from 1 on, found {_shown(value)}", None)
        return value

    def one_of(self, key: str, choices: Collection[str], default: str) -> str:
        """The text `key`, which must be one of `choices`."""
        value = self.text(key) or default
        if value not in choices:
            raise self.wrong(key, f"there is no {key} {value!r}", f"use one of: {', '.join(choices)}")
        return value

    def file(self, key: str) -> Path | None:
        """The path `key`, relative to the file's folder; None where it is not there."""
        value = self.text(key)
        return None if value is None else self.folder / Path(value).expanduser()

    def wrong(self, key: str, message: str, help: str | None) -> Failure:
        """VFL0654 at the line of `key`, or of this table where `key` is not there."""
        return Failure(CODE, message, help, self._find((*self.path, key)) or self._find(self.path))

    def _inside(self) -> str:
        return f" in [{'.'.join(self.path)}]" if self.path else ""

    def _find(self, path: Path_) -> Where | None:
        above: Path_ = ()
        for number, line in enumerate(_lines(self._text), 1):
            header, key = _HEADER.match(line), _KEY.match(line)
            match = header if header and not key else key
            if match is None:
                continue
            named = tuple(part.strip("\"'") for part in _PART.findall(match[1]))
            here = named if match is header else (*above, *named)
            above = named if match is header else above
            if here == path or (here[: len(path)] == path and match is header):
                return _where(self._file, number, match.start(1) + 1, match.end(1) + 1, line)
        return None


def _lines(text: str) -> list[str]:
    """Its lines as TOML counts them: Python ends a line at more characters."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _bounded(file: Path) -> bytes:
    """The content of a file that may come from anybody: parsing takes time by the square of a key's parts."""
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    long = next((n for n, line in enumerate(content.splitlines(), 1) if len(line) > MOST_LINE), None)
    if len(content) > MOST_BYTES or long is not None:
        what = f"line {long} of {file} has" if long else f"{file} has"
        most = MOST_LINE if long else MOST_BYTES
        raise Failure(CODE, f"{what} more than {most:,} bytes", "a deploy.toml is short: see docs/network.md")
    return content


def _where(file: Path, line: int, column: int, end: int, text: str) -> Where:
    return {"file": str(file), "line": line, "column": column, "end_column": end, "text": text}


def _shown(value: Any) -> str:
    return repr(value)[:60]
