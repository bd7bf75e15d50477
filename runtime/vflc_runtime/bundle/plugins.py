"""What a bundle needs of other packages: as the manifest says, and no other version."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

from vflc_common.engine import EngineRecord
from vflc_common.engines import ENGINES
from vflc_common.plugins import MEND, RUN, BrokenPlugin, Plugin, Records

from vflc_runtime.bundle.reading import Json, damaged
from vflc_runtime.errors import Failure

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,99}")


def find_engine(name: str) -> EngineRecord:
    """The engine of a name.

    Raises:
        Failure: VFL0639, there is none; VFL0695, it cannot be used.
    """
    if name not in ENGINES:
        raise Failure("VFL0639", f"there is no engine {name!r}", f"use one of: {', '.join(ENGINES.names())}")
    try:
        return ENGINES[name]
    except BrokenPlugin as broken:
        raise unusable(broken) from broken


def unusable(broken: BrokenPlugin) -> Failure:
    """VFL0695: another package's record cannot be used."""
    return Failure("VFL0695", broken.message, MEND)


def load(records: Records[Any], names: Iterable[str], declared: Sequence[Plugin]) -> None:
    """Imports the records of other packages that a plan asks for.

    Raises:
        Failure: VFL0613, one is not declared, or is another package's here; VFL0695, one cannot be used.
    """
    try:
        for name in names:
            found = records.plugin(name)
            if found is not None and found not in declared:
                raise damaged(
                    f"{name!r} among the {records.kind} is of the package {found.package} {found.version} "
                    "here, which manifest.json does not name"
                )
            records[name]
    except BrokenPlugin as broken:
        raise unusable(broken) from broken


def read_plugins(items: Json | None) -> tuple[Plugin, ...]:
    """The plug-ins that a manifest names; VFL0696 where one that runs is not installed here as it says."""
    found = tuple(
        Plugin(*(_word(item[part]) for part in ("kind", "name", "package", "version")))
        for item in (items if items is not None else ())
    )
    for each in found:
        if each.kind in RUN:
            _check(each)
    return found


def _word(item: Json) -> str:
    if not _WORD.fullmatch(item.text()):
        raise item.wrong("a name or a version")
    return item.text()


def _check(needed: Plugin) -> None:
    try:
        installed: str | None = metadata.version(needed.package)
    except (metadata.PackageNotFoundError, ValueError):
        installed = None
    if installed != needed.version:
        here = "is not installed" if installed is None else f"is {installed}"
        raise Failure(
            "VFL0696",
            f"the bundle was compiled with {needed.name!r} of the package {needed.package} {needed.version}, "
            f"which {here} here",
            f"if you trust that package: pip install {needed.package}=={needed.version}",
        )
