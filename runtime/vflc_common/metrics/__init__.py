"""Metrics: a module each, which holds `METRIC`. Other packages add theirs as entry points `vflc.metrics`."""

from __future__ import annotations

import re

from msgspec import Struct

from vflc_common.measure import Metric
from vflc_common.plugins import Records

METRICS: Records[Metric] = Records("metrics", __name__, "METRIC", Metric)

LOSS = "loss"
"""What is always measured, and may be monitored as a metric may."""
_WRITTEN = re.compile(r"(?P<name>[^\W\d]\w*)(?:\((?P<at>[0-9.e+-]+)\))?(?: by (?P<by>[^\W\d]\w*))?")


class MetricUse(Struct, frozen=True):
    """A metric as a spec asks for it: `ndcg(10) by UserID`.

    Args:
        name: of its record.
        at: its parameter, if it has one.
        by: the column whose equal values are a group of rows, if it is of groups.
    """

    name: str
    at: float | None = None
    by: str | None = None

    def __str__(self) -> str:
        """As results have it, and as a spec writes it."""
        at = f"({self.at:g})" if self.at is not None else ""
        return f"{self.name}{at}{f' by {self.by}' if self.by else ''}"

    def mistake(self) -> str | None:
        """What does not fit the metric's record; None where all does."""
        metric = METRICS[self.name]
        parameter = metric.parameter
        if (parameter is None) != (self.at is None):
            return "takes no parameter" if parameter is None else f"needs {parameter.wanted}"
        if parameter is not None and not parameter.fits(self.at):
            return f"takes {parameter.wanted}"
        if metric.grouped != (self.by is not None):
            return "is of groups of rows" if metric.grouped else "is not of groups of rows"
        return None


def metric_use(written: str) -> MetricUse:
    """What `str` of a `MetricUse` gave; ValueError of any other text."""
    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise ValueError(f"{written!r} is no metric")
    at = found["at"]
    use = MetricUse(found["name"], float(at) if at is not None else None, found["by"])
    if str(use) != written:
        raise ValueError(f"{written!r} is written {str(use)!r}")
    return use


def smaller_is_better(measured: str) -> bool | None:
    """Whether less of a result is better: of a loss, or of a metric, `stars.ndcg(10) by UserID`.

    None where that is not known, as of a metric of a package that is not here.
    """
    if measured.split(".")[0] == LOSS:
        return True
    while True:
        try:
            name = metric_use(measured).name
            break
        except ValueError:  # it is named after its prediction
            _, dot, measured = measured.partition(".")
            if not dot:
                return None
    return METRICS[name].smaller_is_better if name in METRICS else None
