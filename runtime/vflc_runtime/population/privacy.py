"""What the noise on users' changes promises each of them."""

from __future__ import annotations

from typing import Any

from vflc_runtime.bundle.population_settings import ReconstructSettings


def spent(settings: ReconstructSettings, users: int, rounds: int) -> dict[str, Any] | None:
    """The privacy that the noise of so many rounds gives each user; None without noise.

    Renyi accounting (Mironov 2017) of the subsampled Gaussian mechanism: a cohort of fixed size is
    drawn without replacement, for neighbours that differ in all data of one user (Wang, Balle &
    Kasiviswanathan 2019, theorem 27). Where a user is replaced, one summand of norm at most C gives
    way to another, so that the sum moves by up to 2 C: noise of z C is z / 2 times its sensitivity.
    Who is drawn and the noise must be unknown to whom the promise is kept from: both come from a
    secret of the run, not from its seed.

    Args:
        settings: of the run: `noise` is z, `clip_norm` is C.
        users: who are trained on; how many is no secret.
        rounds: how many were done.
    """
    if not settings.noise or settings.noise_delta is None:
        return None
    import dp_accounting as dp
    from dp_accounting import rdp

    accountant = rdp.RdpAccountant(neighboring_relation=dp.NeighboringRelation.REPLACE_ONE)
    one = dp.SampledWithoutReplacementDpEvent(users, settings.cohort, dp.GaussianDpEvent(settings.noise / 2))
    accountant.compose(dp.SelfComposedDpEvent(one, rounds))
    return {
        "epsilon": float(accountant.get_epsilon(settings.noise_delta)),
        "delta": settings.noise_delta,
        "neighbours": "all data of one user replaced",
        "covers": "the global weights after every round",
        "noise": settings.noise,
        "clip_norm": settings.clip_norm,
        "users": users,
        "cohort": settings.cohort,
        "rounds": rounds,
    }
