"""The folder of a new run: it is there whole, in one instant, and replaces nothing unasked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vflc_runtime import files
from vflc_runtime.bundle.folder import Bundle, PopulationBundle
from vflc_runtime.errors import Failure
from vflc_runtime.run.state import FORMAT, RunFolder


def create(
    path: Path,
    bundle: Bundle | PopulationBundle,
    settings: Mapping[str, Any],
    fitted: Mapping[str, Any],
    overwrite: bool,
) -> RunFolder:
    """Makes the folder of a new run, in one instant.

    `settings` go to run.json; `fitted` is what encoders fitted, by input id. With
    `overwrite` a run that is there gives way in the same instant.
    """
    refuse_existing(path, overwrite)
    new, old = (path.with_name(f".{path.name}.{end}") for end in ("new", "old"))
    with files.writing(path):
        try:
            for left in (new, old):
                shutil.rmtree(left, ignore_errors=True)
            _lay_out(new, bundle, settings, fitted)
            if path.exists():
                path.rename(old)
            new.rename(path)
            files.sync(path.parent)
        finally:
            for left in (new, old):
                shutil.rmtree(left, ignore_errors=True)
    return RunFolder(path)


def _lay_out(
    new: Path, bundle: Bundle | PopulationBundle, settings: Mapping[str, Any], fitted: Mapping[str, Any]
) -> None:
    files.make_folder(new)
    others = {item.name for item in bundle.folder.iterdir() if item.is_dir()} - set(bundle.plans)
    left_out = lambda folder, names: others if Path(folder) == bundle.folder else ()  # noqa: E731
    shutil.copytree(bundle.folder, new / "bundle", ignore=left_out)
    files.make_folder(new / "checkpoints")
    for place, plan in bundle.plans.items():
        files.make_folder(new / place)
        own = {name: state for name, state in fitted.items() if name.partition(".")[0] in plan.tables}
        files.write_json(new / place / "encoders.json", own)
    files.write_json(new / "run.json", {"format": FORMAT, **settings})
    kept = ["run.json", *(f"{place}/encoders.json" for place in bundle.plans)]
    files.write_bytes(new / files.SUMS, files.sums_content(files.checksums(new, kept)))


def refuse_existing(path: Path, overwrite: bool) -> None:
    """VFL0624 where `path` holds something that a new run may not replace."""
    if not path.exists():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    if not (path.is_dir() and (path / "run.json").exists()):
        raise Failure("VFL0624", f"{path} already exists and is not a run", "choose another folder")
    if not overwrite:
        raise Failure(
            "VFL0624",
            f"{path} already holds a run",
            "continue it (--resume, in Python `vflc.load(…).fit(…)`), replace it (--overwrite, in Python "
            "`overwrite=True`), or choose another folder",
        )
