"""What a merged model says of the parties' columns, so that `vflc import` can write them as they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.encoders import settled
from vflc_runtime.run.loading import encoders

VERSION = 1


def tables(bundle: Bundle, fitted: Mapping[str, Any]) -> dict[str, Any]:
    """As encoders.json of all places, without places in the spec, and with what was fitted."""
    found: dict[str, Any] = {}
    for party, info in encoders(bundle)["parties"].items():
        columns = []
        for column in info["columns"]:
            chain = column.get("encoders")
            about = {name: each for name, each in column.items() if name != "where"}
            if chain:
                state = fitted.get(f"{party}.{column['name']}") or [None] * len(chain)
                about["encoders"] = [dict(settled(e, s)) for e, s in zip(chain, state, strict=True)]
            columns.append(about)
        found[party] = {"key": info.get("key"), "columns": columns}
    return {"version": VERSION, "parties": found}
