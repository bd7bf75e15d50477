"""A rate that does not change."""

from vflc.ops.rates import highest, reaches_zero
from vflc.ops.rules import number
from vflc.ops.schedule import Schedule

SCHEDULE = Schedule(
    "constant", "The same rate in all steps.", {"lr": None},
    make=lambda b, done, o: number(b, o["lr"]),
    highest=lambda o: highest(o["lr"]),
    reaches_zero=lambda o: reaches_zero(o["lr"]),
)  # fmt: skip
