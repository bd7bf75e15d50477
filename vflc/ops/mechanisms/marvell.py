"""Noise that is solved for each batch, against label leakage (Li et al. 2022).

The runtime part, which solves it, is `vflc_runtime/protect/solvers/marvell.py`.
"""

from __future__ import annotations

from vflc.ops.protection import GRADIENTS, POSITIVE, Mechanism, Option

MECHANISM = Mechanism(
    "marvell",
    "Adds noise after which the gradients of both classes have the same covariance, and means so close "
    "that the sum of both Kullback-Leibler divergences is at most `sum_kl`. It is solved for each batch.",
    {"sum_kl": Option(*POSITIVE, required=True)},
    GRADIENTS, "noise", "partial",
    lambda o: "the sum of both KL divergences between the classes' gradients in a batch is at most "
    f"{o['sum_kl']:g} if both are Gaussian; no bound on what leaks",
    solver="marvell",
)  # fmt: skip
