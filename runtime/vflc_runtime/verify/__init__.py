"""Trains one model several ways from the same start and says how far the results lie apart.

A way is a split and an engine: all that it computes should be what every other way computes, to
rounding. The command line compiles the ways; here they are run, recorded and compared.
"""

from vflc_runtime.verify.differences import KINDS, LIMITS, Comparison, Difference
from vflc_runtime.verify.non_smooth import NonSmoothPoints
from vflc_runtime.verify.rules import ModelOptimizers, OptimizerSettings
from vflc_runtime.verify.ways import Verification, VerifySettings, Way, WayResult, idle_weights, verify

__all__ = [
    "KINDS",
    "LIMITS",
    "Comparison",
    "Difference",
    "ModelOptimizers",
    "NonSmoothPoints",
    "OptimizerSettings",
    "Verification",
    "VerifySettings",
    "Way",
    "WayResult",
    "idle_weights",
    "verify",
]
