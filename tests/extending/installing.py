"""Packages that extend vflc, as they lie in site-packages, and a spec with tables to use them on."""

from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path

import numpy as np
from forked import completed

SPEC = """
party alice {
  key ID
  feature Age: float -> standardize
}
party bob {
  key ID
  feature Income: float -> standardize
  label Late: int
}
a = ACTIVATION(dense(alice.Age, 4))
fuse at bob {
  logit = dense(concat(a, bob.Income), 1)
}
predict late = sigmoid(logit)
objective bce(logit, bob.Late)
release alice { to bob: Age }
release bob { to alice: Late, Income }
train { batch 50  epochs 2  validation 0.2  metrics METRIC, auc  monitor METRIC }
"""


def spec(activation: str = "mish", metric: str = "cubed_error") -> str:
    return SPEC.replace("ACTIVATION", activation).replace("METRIC", metric)


def package(folder: Path, points: str, code: str, name: str = "strange", version: str = "0.3") -> Path:
    """A package as it lies in site-packages: a module of code and what its metadata says."""
    module = name.replace("-", "_")
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_text(code, "utf-8")
    about = folder / f"{module}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    (about / "entry_points.txt").write_text(points, "utf-8")
    return folder


def found(spec: str, folder: Path, site: Path) -> str:
    """What `vflc check` says of a spec, in one line; it refuses it."""
    (folder / "m.vfl").write_text(spec, "utf-8")
    done = vflc("check", "m.vfl", at=folder, site=site)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    return " ".join(done.stdout.split())


def vflc(*arguments: object, at: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command, run to its end, with the packages in `site` beside those that are installed."""
    return completed("vflc", *arguments, cwd=at, env=finding(site))


def finding(site: Path | str | None) -> dict[str, str]:
    """An environment in which Python finds the packages in `site` too."""
    return {**os.environ, "PYTHONPATH": str(site or "")}


def tables(folder: Path) -> list[str]:
    """Rows of both parties, and the options that name them."""
    rng = np.random.default_rng(5)
    age, income = rng.normal(40, 10, 200), rng.normal(30, 5, 200)
    late = (rng.random(200) < 1 / (1 + np.exp((age - 40) / 8))).astype(int)
    (folder / "alice.csv").write_text("ID,Age\n" + "".join(f"{i},{a}\n" for i, a in enumerate(age)))
    rows = "".join(f"{i},{x},{y}\n" for i, (x, y) in enumerate(zip(income, late, strict=True)))
    (folder / "bob.csv").write_text(f"ID,Income,Late\n{rows}")
    return ["--data", "alice=alice.csv", "--data", "bob=bob.csv"]


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return [*csv.DictReader(opened)]
