"""Engines: a module each, which holds `ENGINE`. Others are entry points `vflc.engines`."""

from vflc_common.engine import EngineRecord
from vflc_common.plugins import Records

ENGINES: Records[EngineRecord] = Records("engines", __name__, "ENGINE", EngineRecord)


def installed() -> tuple[str, ...]:
    """The names of ours that need no GPU and whose libraries are here, first those that vflc always has."""
    return tuple(each.name for each in sorted(usual(), key=lambda each: bool(each.extra)) if each.installed)


def usual() -> list[EngineRecord]:
    """Ours that need no GPU."""
    return [each for each in ENGINES if each.device == "cpu"]


def on_device(engine: str, device: str) -> str | None:
    """The engine that is another one on a device; None where there is none."""
    known = ENGINES[engine]
    if known.device == device:
        return engine
    same = (each.name for each in ENGINES if (each.device, each.library) == (device, known.library))
    return next(same, None)
