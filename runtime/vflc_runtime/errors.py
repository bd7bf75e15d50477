"""How the runtime says that something cannot go on: one coded failure, never a traceback."""

from __future__ import annotations

import errno
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


TOO_MANY = (errno.EMFILE, errno.ENFILE)
"""No descriptor is left for another file: to this process, or to the whole machine."""


def too_many_files(what: str, number: int | None) -> Failure:
    """VFL0649: `what` failed for want of descriptors, which has nothing to do with the disk."""
    whose = "this machine has" if number == errno.ENFILE else "this process may have"
    return Failure(
        "VFL0649",
        f"{what}: {whose} no more files and connections open at a time",
        "raise the limit (`ulimit -n`, LimitNOFILE of systemd) and find out what opens that many "
        "connections; what was saved before is untouched",
    )
