"""Which mechanisms with a proof spend on what a place learns of a column: what parties add up over runs."""

from __future__ import annotations

from collections.abc import Mapping

from vflc.ir.learn import Spend
from vflc.ir.stages import Partitioned
from vflc.passes.learn.bounds import declared, made_of
from vflc.passes.learn.received import Received


def spends(model: Partitioned, reaching: Mapping[str, Received]) -> tuple[Spend, ...]:
    """For every place, and every feature, label and column of others behind a mechanism, these mechanisms."""
    columns, found = declared(model), dict[tuple[str, str, str], dict[str, None]]()
    for receiver, secrets in reaching.items():
        for secret in secrets:
            if secret.guard is None:
                continue
            source = secret.source
            for name in (source.name, *made_of(source, columns)):
                found.setdefault((receiver, source.party, name), {})[secret.guard.id] = None
    return tuple(Spend(*which, tuple(guards)) for which, guards in found.items())
