"""Noise by which what weights learn of a row is differentially private."""

from __future__ import annotations

from vflc.ops.noise import NOISE, check_noise, told
from vflc.ops.protection import Mechanism
from vflc.ops.registry import Options


def promise_dp_sgd(options: Options) -> str:
    return (
        f"what these weights learn about a row in a whole run is {told(options)} differentially private: "
        f"each row's gradient is clipped to an L2 norm of {options['clip']:g}, and Gaussian noise is added "
        "to their sum; no bound on the row's own messages"
    )


MECHANISM = Mechanism(
    "dp_sgd",
    "Clips each row's gradient, over all weights that it protects together, and adds Gaussian noise to "
    "every number of the sum, so that what the weights learn about a row is differentially private. The "
    "options are those of `gaussian`.",
    NOISE, frozenset({"weights"}), "weights", "proven", promise_dp_sgd, accounting="messages",
    check=check_noise("dp_sgd"), suggests="dp_sgd(clip = 1.0, epsilon = {epsilon:g})",
)  # fmt: skip
