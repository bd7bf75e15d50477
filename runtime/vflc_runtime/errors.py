"""How the runtime says that something cannot go on: one coded failure, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Where = Mapping[str, Any]

PEER = 3
"""Exit code when a peer or the network failed."""


class Failure(Exception):
    """A run cannot go on because of what the user or a peer gave it.

    Args:
        code: `VFL06xx`; `vflc explain CODE` has its page.
        message: what is wrong, with the values at hand.
        help: what to do next.
        where: the place in the spec, as the plan carries it: `file`, `line`, `column`,
            `end_column` and the `text` of the line.
        exit_code: 1 where the input is wrong, 3 where a peer is.
    """

    def __init__(
        self,
        code: str,
        message: str,
        help: str | None = None,
        where: Where | None = None,
        exit_code: int = 1,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.help = code, message, help
        self.where = dict(where) if where is not None else None
        self.exit_code = exit_code
