"""`train reconstruct` as the runtime uses it."""

from __future__ import annotations

from dataclasses import dataclass

from vflc_common.words import DIVISIONS, HALVES, WEIGHTINGS

from vflc_runtime.bundle.reading import Json, damaged


@dataclass(frozen=True, slots=True)
class ReconstructSettings:
    """`train reconstruct`: `ir.model.Reconstruction` says what each means.

    `cohort` is in users, `batch` in rows, `limit` in rows of a user; `evaluate_every` in rounds.
    """

    rounds: int
    cohort: int
    batch: int
    limit: int | None
    seed: int
    validation: float
    test: float
    divide: str
    halves: str
    fraction: float
    rebuild_epochs: int
    rebuild_steps: int | None
    client_epochs: int
    client_steps: int | None
    weighting: str
    joint: bool
    keep_local: bool
    clip_norm: float | None
    noise: float
    noise_delta: float | None
    evaluate_every: int | None
    checkpoint_rounds: int | None


def read_settings(item: Json) -> ReconstructSettings:
    """Reads `reconstruct` of a plan; VFL0613 where it is not as it must be."""

    def whole(name: str, least: int = 1) -> int:
        return item[name].integer(least)

    def maybe(name: str) -> int | None:
        return None if item.get(name) is None else item[name].integer(1)

    def number(name: str) -> float | None:
        return None if item.get(name) is None else item[name].number()

    settings = ReconstructSettings(
        rounds=whole("rounds"),
        cohort=whole("cohort"),
        batch=whole("batch"),
        limit=maybe("limit"),
        seed=whole("seed", 0),
        validation=item["validation"].number(),
        test=item["test"].number(),
        divide=item["divide"].one_of(*DIVISIONS),
        halves=item["halves"].one_of(*HALVES),
        fraction=item["fraction"].number(),
        rebuild_epochs=whole("rebuild_epochs"),
        rebuild_steps=maybe("rebuild_steps"),
        client_epochs=whole("client_epochs"),
        client_steps=maybe("client_steps"),
        weighting=item["weighting"].one_of(*WEIGHTINGS),
        joint=item["joint"].flag(),
        keep_local=item["keep_local"].flag(),
        clip_norm=number("clip_norm"),
        noise=item["noise"].number(),
        noise_delta=number("noise_delta"),
        evaluate_every=maybe("evaluate_every"),
        checkpoint_rounds=maybe("checkpoint_rounds"),
    )
    if not 0 <= settings.validation + settings.test < 1 or not 0 < settings.fraction < 1:
        raise damaged(f"{item.path}: no part of the users or of their examples is left to train on")
    limits = settings.clip_norm, settings.noise_delta
    if settings.noise and (None in limits or settings.weighting != "uniform"):
        raise damaged(f"{item.path}: noise needs clip_norm, noise_delta and uniform weighting")
    return settings
