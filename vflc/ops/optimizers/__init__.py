"""Optimizers: a module each, which holds `OPTIMIZER`. Others are entry points `vflc.optimizers`."""

from vflc_common.plugins import Records

from vflc.ops.optimizer import Optimizer

OPTIMIZERS: Records[Optimizer] = Records("optimizers", __name__, "OPTIMIZER", Optimizer)
