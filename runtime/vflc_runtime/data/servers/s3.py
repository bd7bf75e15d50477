"""Objects of S3, copied to a folder of this run: from there on they are files like all others."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from vflc_runtime.data.servers.receive import LIMIT, TIMEOUT, setting, too_much
from vflc_runtime.data.servers.said import unreached
from vflc_runtime.data.servers.url import Bucket, wrong
from vflc_runtime.data.table_logs import refuse_log
from vflc_runtime.errors import Failure

CONNECT = 30.0
"""Seconds that connecting may take."""
MOST = 10_000
"""Objects that a source may have."""
SAMPLE = 8 << 20
"""Bytes of a text object that tell what its columns are."""
_BLOCK = 4 << 20
_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]")


def fetch(named: Bucket, party: str, shown: str, folder: Path, sample: bool) -> list[str]:
    """Copies objects to `folder`, which is this process's own, in the order of their keys.

    Args:
        named: which objects.
        party: whose they are, for messages.
        shown: the source as messages show it.
        folder: where to; is made.
        sample: whether as much as shows the columns is enough.

    Returns:
        The files; empty where nothing matches.

    Raises:
        Failure: VFL0601 (a table that is more than its Parquet files), VFL0692 (an endpoint that is none),
            VFL0697 (what S3 refuses), VFL0699 (too much).
    """
    from pyarrow import fs

    folder.mkdir(mode=0o700)
    with _asking(party, shown):
        filesystem = fs.S3FileSystem(**_settings(party))
        found = _objects(fs, filesystem, named, party, shown)
        size, most = sum(each.size or 0 for each in found), setting(*LIMIT) * 2**30
        if not sample and size > most:
            raise too_much(party, shown, f"has {size / 2**30:.1f} GiB, more than {most / 2**30:g} GiB")
        if len(found) > MOST:
            raise too_much(party, shown, f"has more than {MOST:,} such objects")
        take = _sample if sample else _copy
        return [str(take(filesystem, each, _named(folder, i, each))) for i, each in enumerate(found)]


def _settings(party: str) -> dict[str, Any]:
    """Credentials and region are found as AWS's own tools find them; the endpoint here, for older pyarrow."""
    told: dict[str, Any] = {"connect_timeout": CONNECT, "request_timeout": setting(*TIMEOUT)}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            help = "write AWS_ENDPOINT_URL=https://HOST:PORT"
            raise wrong(party, "AWS_ENDPOINT_URL is no address of a server", help)
        told |= {"scheme": parts.scheme, "endpoint_override": parts.netloc}
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        told["region"] = region
    return told


def _objects(fs: Any, filesystem: Any, named: Bucket, party: str, shown: str) -> list[Any]:
    glob = _GLOB.search(named.key)
    path = f"{named.bucket}/{named.key}".rstrip("/")
    if glob is None:
        (info,) = filesystem.get_file_info([path])
        if info.type == fs.FileType.File:
            return [info]
        pattern, start = re.compile(r"(.*/)?[^/.][^/]*\.(parquet|pq)"), path
    else:
        pattern = re.compile(_regex(named.key))
        start = f"{named.bucket}/{named.key[: glob.start()]}".rpartition("/")[0]
    below = len(start if glob is None else named.bucket) + 1
    infos = filesystem.get_file_info(fs.FileSelector(start, allow_not_found=True, recursive=True))
    if glob is None:
        refuse_log((each.path for each in infos), party, shown)
    files = [each for each in infos if each.type == fs.FileType.File and pattern.fullmatch(each.path[below:])]
    return sorted(files, key=lambda each: each.path)


def _regex(glob: str) -> str:
    """A glob as a regular expression, where `**` stands for folders, too; none finds what is hidden."""
    parts, at = [], 0
    known = {"**/": "(?:[^/.][^/]*/)*", "**": r"(?:[^/.][^/]*/)*(?!\.)[^/]*", "*": "[^/]*", "?": "[^/]"}
    for match in _GLOB.finditer(glob):
        sign, before = match[0], glob[at : match.start()]
        visible = r"(?!\.)" if glob[: match.start()][-1:] in ("", "/") else ""
        parts += [re.escape(before), visible + (known.get(sign) or sign.replace("[!", "[^"))]
        at = match.end()
    return "".join([*parts, re.escape(glob[at:])])


def _named(folder: Path, number: int, each: Any) -> Path:
    """A file for an object: its ending says what it is, and its number where it stands."""
    return folder / f"{number:05}-{re.sub(r'[^A-Za-z0-9._-]', '_', each.base_name)[-80:]}"


def _copy(filesystem: Any, each: Any, file: Path) -> Path:
    with filesystem.open_input_stream(each.path, compression=None) as source, _private(file) as target:
        while block := source.read(_BLOCK):
            target.write(block)
    return file


def _sample(filesystem: Any, each: Any, file: Path) -> Path:
    """The first row of a large Parquet object, the first lines of a large text."""
    import pyarrow.parquet as pq

    if each.size > SAMPLE and file.suffix in (".parquet", ".pq"):
        with filesystem.open_input_file(each.path) as source, _private(file) as target:
            parquet = pq.ParquetFile(source)
            first = [batch for batch, _ in zip(parquet.iter_batches(batch_size=1), range(1), strict=False)]
            pq.write_table(pa.Table.from_batches(first, parquet.schema_arrow), target)
        return file
    plain = file.with_suffix("") if file.suffix in (".gz", ".zst") else file
    if each.size > SAMPLE and plain.suffix != ".json":  # one object of which may be the whole file
        with filesystem.open_input_stream(each.path) as source, _private(plain) as target:
            target.write(source.read(SAMPLE).rpartition(b"\n")[0] + b"\n")
        return plain
    return _copy(filesystem, each, file)


@contextmanager
def _private(file: Path) -> Iterator[Any]:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        yield stream


@contextmanager
def _asking(party: str, shown: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, Failure):
        raise
    except (OSError, pa.ArrowException) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            help = "free space in the temporary folder (TMPDIR)"
            raise Failure("VFL0612", f"there is no room to copy {party}'s data: {shown}", help) from None
        raise unreached(party, shown, error, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
