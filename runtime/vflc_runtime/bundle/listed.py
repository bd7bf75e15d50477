"""Values of encoders that lie in files of the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vflc_common.encoder import FILE, SIZE
from vflc_common.encoders import record
from vflc_common.listed import ListedError, values_of

from vflc_runtime.bundle.contents import Contents
from vflc_runtime.bundle.reading import damaged


def with_values(info: Mapping[str, Any], contents: Contents) -> Mapping[str, Any]:
    """What is read of a table, with the values of its encoders that lie in files.

    Raises:
        Failure: VFL0613, a file is missing, or is no list of so many values.
    """
    for column in info["columns"]:
        for settings in column.get("encoders", ()):
            if settings.get(FILE) is not None and record(settings).lookup is not None:
                try:
                    values = values_of(contents.read(settings[FILE]))
                except ListedError as wrong:
                    raise damaged(f"{contents.folder / settings[FILE]} {wrong}") from None
                if len(values) != settings[SIZE]:
                    raise damaged(f"{contents.folder / settings[FILE]} has not {settings[SIZE]:,} values")
                settings["values"] = values
    return info
