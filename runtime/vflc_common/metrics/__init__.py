"""Metrics: a module each, which holds `METRIC`. Other packages add theirs as entry points `vflc.metrics`."""

from vflc_common.measure import Metric
from vflc_common.plugins import Records

METRICS: Records[Metric] = Records("metrics", __name__, "METRIC", Metric)
