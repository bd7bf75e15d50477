"""How good a trained population's model is for users it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vflc_runtime.data.source import Source
from vflc_runtime.events import Listener, silent
from vflc_runtime.population.rounds import summed
from vflc_runtime.population.users import Users
from vflc_runtime.population.worker_pool import groups
from vflc_runtime.run.client_executor import local_pool
from vflc_runtime.run.loading import load_users
from vflc_runtime.run.settings import chosen
from vflc_runtime.run.state import RunFolder


def evaluate(
    run: Path | str, sources: Mapping[str, Source], engine: str = "onnx", listen: Listener = silent
) -> dict[str, Any]:
    """Rebuilds every user of the source from one half of its examples and measures on the other.

    Returns:
        `rows`, `users`, `model` (which it is), `evaluation` (loss and each metric), `too_few_examples`,
        `bytes_sent`, `data`.

    Raises:
        Failure: VFL0601 to 0618 as data and run give cause.
    """
    folder = RunFolder(Path(run))
    population = folder.population(engine)
    hub = population.hub.place
    data = load_users(population, sources, listen)
    users = Users.of(data)
    pool = local_pool(population, chosen(population, folder.settings), users, training=False)
    weights = folder.models_at([hub], listen)[hub]
    found = summed(population.users, pool.evaluate(groups(np.arange(len(users))), weights))
    return {
        "rows": data.rows,
        "users": len(users),
        "model": folder.which(),
        "evaluation": found.scores,
        "too_few_examples": found.small,
        "bytes_sent": found.sent,
        "data": data.report,
    }
