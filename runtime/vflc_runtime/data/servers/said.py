"""What a server says, as a message may show it; and the failures of servers."""

from __future__ import annotations

import os

from vflc_runtime.errors import Failure

SECRETS = (
    "PGPASSWORD", "MYSQL_PWD", "VFLC_FLIGHT_PASSWORD", "VFLC_FLIGHT_TOKEN",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
)  # fmt: skip
"""Environment: what no message shows, even where a server sends it back."""
MOST = 300
"""Characters of a server's message that are shown."""


def plain(said: object) -> str:
    """One line of printable characters, without credentials, of what a server or its driver said."""
    text = str(said)[:10_000]
    for name in SECRETS:
        if len(secret := os.environ.get(name, "")) > 2:
            text = text.replace(secret, "…")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MOST else text[: MOST - 1] + "…"


def no_driver(party: str, package: str, extra: str) -> Failure:
    """VFL0694."""
    return Failure("VFL0694", f"{party}'s data needs the package {package}", f"pip install 'vflc[{extra}]'")


def unreached(party: str, shown: str, error: object, password: str) -> Failure:
    """VFL0697: no connection, or none with these credentials."""
    return Failure(
        "VFL0697",
        f"{party}'s data cannot be reached at {shown}: {plain(error)}",
        f"check host, port, user and database, and the password in the environment: {password}",
    )


def broken(party: str, shown: str, error: object, help: str | None = None) -> Failure:
    """VFL0698: the server refuses a query, or stops in the midst of its rows."""
    return Failure(
        "VFL0698",
        f"{party}'s data cannot be read from {shown}: {plain(error)}",
        help or "check the table or the query with the server's own client, as the same user",
    )
