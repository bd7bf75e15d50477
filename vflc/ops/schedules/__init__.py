"""Schedules: a module each, which holds `SCHEDULE`. Others are entry points `vflc.schedules`."""

from vflc_common.plugins import Records

from vflc.ops.schedule import Schedule

SCHEDULES: Records[Schedule] = Records("schedules", __name__, "SCHEDULE", Schedule)
