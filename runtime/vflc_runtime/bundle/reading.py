"""Reads JSON that nobody vouches for: every access says what it expects and names the place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from vflc_runtime.errors import Failure

MOST_NUMBERS = (2**63 - 1) // 8
"""In an array: its bytes have a number of 63 bits."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}\Z")


def damaged(message: str) -> Failure:
    """The failure for a bundle that does not hold together."""
    return Failure("VFL0613", message, "compile the spec again: `vflc compile SPEC -o DIR`")


class Json:
    """One value of a JSON document and the path to it, for messages."""

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str) -> None:
        self.value, self.path = value, path

    @classmethod
    def read(cls, file: Path) -> Json:
        """The document in `file`; VFL0613 where there is none."""
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            raise damaged(f"{file} is missing") from None
        except OSError as error:
            raise damaged(f"{file} cannot be read: {error.strerror}") from None
        return cls.parse(content, file.name)

    @classmethod
    def parse(cls, content: bytes, name: str) -> Json:
        """The document in a file's bytes; VFL0613 where it is none."""
        try:
            return cls(json.loads(content), name)
        except (ValueError, RecursionError) as error:
            raise damaged(f"{name} is not JSON: {error}") from None

    def wrong(self, expected: str) -> Failure:
        return damaged(f"{self.path}: expected {expected}, found {str(self.value)[:60]!r}")

    def __getitem__(self, key: str) -> Json:
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        if key not in self.value:
            raise damaged(f"{self.path}: {key!r} is missing")
        return Json(self.value[key], f"{self.path}.{key}")

    def get(self, key: str) -> Json | None:
        """The value under `key`, or None where it is absent or null."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        value = self.value.get(key)
        return None if value is None else Json(value, f"{self.path}.{key}")

    def __iter__(self) -> Iterator[Json]:
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return (Json(value, f"{self.path}[{index}]") for index, value in enumerate(self.value))

    def items(self) -> Iterator[tuple[str, Json]]:
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return ((key, Json(value, f"{self.path}.{key}")) for key, value in self.value.items())

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("a text")
        return self.value

    def text_or_number(self) -> str | int | float:
        """What a cell of a table may hold."""
        if isinstance(self.value, str):
            return self.value
        self.number()
        value: int | float = self.value
        return value

    def name(self) -> str:
        """A text that is safe as the name of a folder."""
        if not isinstance(self.value, str) or not _NAME.match(self.value):
            raise self.wrong("a name of letters, digits, '_' and '-'")
        return self.value

    def one_of(self, *choices: str) -> str:
        if self.value not in choices:
            raise self.wrong(f"one of {', '.join(choices)}")
        return str(self.value)

    def integer(self, least: int = 0) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < least:
            raise self.wrong(f"an integer of at least {least}")
        return self.value

    def number(self) -> float:
        if (
            not isinstance(self.value, (int, float))
            or isinstance(self.value, bool)
            or not math.isfinite(self.value)
        ):
            raise self.wrong("a number")
        return float(self.value)

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self)

    def shape(self) -> tuple[int, ...]:
        """Sizes that are all known, of an array that a memory can address."""
        sizes = tuple(item.integer(1) for item in self)
        if prod(sizes) > MOST_NUMBERS:
            raise self.wrong("the sizes of an array")
        return sizes

    def open_shape(self) -> tuple[int | None, ...]:
        """Sizes; None where only a run knows them."""
        sizes = tuple(None if item.value is None else item.integer(1) for item in self)
        if prod(size or 1 for size in sizes) > MOST_NUMBERS:
            raise self.wrong("the sizes of an array")
        return sizes
