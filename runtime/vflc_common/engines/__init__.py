"""Engines: a module each, which holds `ENGINE`. Others are entry points `vflc.engines`."""

from vflc_common.engine import EngineRecord
from vflc_common.plugins import Records

ENGINES: Records[EngineRecord] = Records("engines", __name__, "ENGINE", EngineRecord)


def installed() -> tuple[str, ...]:
    """The names of ours whose libraries are here, first those that vflc always has."""
    return tuple(each.name for each in sorted(ENGINES, key=lambda each: bool(each.extra)) if each.installed)
