"""What a URL names: a table or a query at a server, or files of an S3 bucket. Never a password."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus

from vflc_runtime.errors import Failure

URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
ALIASES = {"postgres": "postgresql", "mariadb": "mysql", "flightsql": "grpc+tls"}
SCHEMES = ("postgresql", "mysql", "grpc+tls", "grpc", "s3")
ALLOWED = "VFLC_SOURCES"
"""Environment: servers and buckets that a file may name, as `db.example.org s3://bucket`."""
FORM = "write postgresql://USER@HOST/DATABASE?table=NAME, or ?query=SELECT … at its end"
_PARTS = re.compile(r"([^:]+)://([^/?]*)(?:/([^?]*))?(?:\?(.*))?", re.DOTALL)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]*)(?::([0-9]{1,5}))?", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")


@dataclass(frozen=True, slots=True)
class ServerTable:
    """A table, or the rows of a query, at a database server.

    Args:
        scheme: `postgresql`, `mysql`, `grpc+tls` or `grpc`.
        host: empty where the driver's own default is meant: a socket of this machine.
        port: None for the usual one.
        user: None for the driver's default.
        database: may be empty.
        table: the table's name in parts, `(schema, name)`; empty where there is a query.
        query: a SELECT in the server's own SQL; empty where there is a table.
    """

    scheme: str
    host: str
    port: int | None
    user: str | None
    database: str
    table: tuple[str, ...]
    query: str

    @property
    def local(self) -> bool:
        """Whether the server is on this machine."""
        if self.host.lower() in ("", "localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def select(self, columns: str, quote: str, limit: int | None = None) -> str:
        """One SELECT of `columns` from this table; names stand in `quote`s of the server's SQL."""
        if self.table:
            rows = ".".join(identifier(part, quote) for part in self.table)
        else:  # a line comment at the end of the query ends with its line
            rows = f"(\n{self.query}\n) AS {identifier('rows', quote)}"
        return f"SELECT {columns} FROM {rows}" + ("" if limit is None else f" LIMIT {limit}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects of an S3 bucket: one, those that match a glob, or all Parquet files below a folder."""

    bucket: str
    key: str


def identifier(name: str, quote: str) -> str:
    """A name as SQL quotes it."""
    return quote + name.replace(quote, quote * 2) + quote


def without_password(text: str) -> str:
    """A source as it may be shown."""
    return _USER.sub("…", text)


def parse(text: str, party: str) -> ServerTable | Bucket | None:
    """What a URL names; None where its scheme is not one that is read.

    Raises:
        Failure: VFL0692, also where it holds a password.
    """
    parts = _PARTS.fullmatch(text)
    scheme = text.partition("://")[0].lower()
    scheme = ALIASES.get(scheme, scheme)
    if scheme not in SCHEMES:
        return None
    if scheme == "s3":
        bucket, _, key = text.partition("://")[2].partition("/")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,255}", bucket):
            help = "write s3://BUCKET/KEY; credentials are in the environment, AWS_ACCESS_KEY_ID and others"
            raise wrong(party, "no name of a bucket follows s3://", help)
        return Bucket(bucket, key)
    if parts is None:
        raise wrong(party, "no server follows ://")
    user, at, place = parts[2].rpartition("@")
    if ":" in user:
        raise wrong(
            party,
            "it holds a password, which would end up in logs and lists of processes",
            "leave it out, change it if others saw it, and give it in the environment: "
            "PGPASSWORD, MYSQL_PWD or VFLC_FLIGHT_PASSWORD",
        )
    host = _HOST.fullmatch(place)
    if host is None or int(host[2] or 1) not in range(1, 1 << 16):
        raise wrong(party, "what follows :// is no HOST or HOST:PORT")
    if "\0" in text or "%00" in text:
        raise wrong(party, "it contains a NUL character")
    table, query = _asked(parts[4] or "", party)
    database = unquote(parts[3] or "")
    port = int(host[2]) if host[2] else None
    return ServerTable(scheme, host[1], port, unquote(user) if at else None, database, table, query)


def allow(named: ServerTable | Bucket, party: str) -> None:
    """VFL0693 where a file names what the operator of this party has not allowed: see `ALLOWED`."""
    if isinstance(named, Bucket):
        places = {f"s3://{named.bucket}"}
    else:
        host = named.host.lower() or "localhost"
        places = {host, *([f"{host}:{named.port}"] if named.port else ())}
    allowed = os.environ.get(ALLOWED, "").replace(",", " ").lower().split()
    place = max(places)
    if not places & set(allowed):
        raise Failure(
            "VFL0693",
            f"a file names {place} as the source of {party}'s data, and this machine's environment does not",
            f"if you trust that file with what you may read there: export {ALLOWED}={place}; or name the "
            f"source yourself: --data",
        )
    if isinstance(named, ServerTable) and named.query:
        raise Failure(
            "VFL0693",
            f"a file gives a query for {place} as the source of {party}'s data; a file may name a table only",
            "make a view of the query in the database, and name it: ?table=NAME; or give the query yourself: "
            "--data",
        )


def wrong(party: str, reason: str, help: str = FORM) -> Failure:
    """VFL0692; the URL itself is not shown."""
    return Failure("VFL0692", f"the URL of {party}'s data cannot be used: {reason}", help)


def _asked(text: str, party: str) -> tuple[tuple[str, ...], str]:
    """What follows `?`: the parts of a table's name, or a query, which goes on to the end as it is."""
    what, equals, value = text.partition("=")
    if what == "query" and equals:
        query = value if re.search(r"\s", value) else unquote_plus(value)
        query = query.strip().rstrip(";").rstrip()
        if not re.match(r"(select|with|values|table)\b|\(", query, re.IGNORECASE):
            raise wrong(party, "its query is not a SELECT", FORM)
        return (), query
    if what == "table" and equals:
        table = tuple(unquote(part) for part in value.split("."))
        if "&" in value or not all(table) or len(table) > 3:
            raise wrong(party, "what follows table= is no NAME or SCHEMA.NAME", FORM)
        return table, ""
    if what:
        reason = "after ? comes table= or query=, and nothing before it or beside it"
        help = "how to connect is said in the environment: see docs/data.md"
        raise wrong(party, reason, help)
    raise wrong(party, "it names no table")
