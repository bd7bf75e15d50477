"""What holds for a whole run: what the user asks for, what the spec says, what a run began with."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Protocol

import numpy

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.errors import Failure
from vflc_runtime.run.state import RunFolder


class Options(Protocol):
    """The options of training that bear on the result; None where the user did not say."""

    @property
    def epochs(self) -> int | None: ...
    @property
    def batch(self) -> int | None: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def validation(self) -> float | None: ...
    @property
    def checkpoint_steps(self) -> int | None: ...


def check_options(options: Options) -> None:
    """VFL0638 where one of them makes no sense."""
    for name in ("epochs", "batch", "steps", "checkpoint_steps"):
        given = getattr(options, name)
        if given is not None and given < 1:
            raise Failure("VFL0638", f"{name} is {given}", "give at least 1")
    if options.validation is not None and not 0 <= options.validation < 1:
        raise Failure(
            "VFL0638", f"validation is {options.validation}", "give a fraction from 0 up to, not including, 1"
        )


def new_settings(bundle: Bundle, options: Options) -> dict[str, Any]:
    """The settings of a new run: the options, and the spec's where they say nothing."""
    spec = next(iter(bundle.plans.values())).training
    settings: dict[str, Any] = {
        name: getattr(spec, name) if getattr(options, name) is None else getattr(options, name)
        for name in ("epochs", "batch", "seed", "validation", "checkpoint_steps")
    }
    return {
        "model": bundle.manifest.model,
        "digest": bundle.manifest.digest,
        **settings,
        "steps": options.steps,
        "shuffle": spec.shuffle,
    }


def version() -> str:
    """The version of this program, which all parties must have."""
    try:
        return metadata.version("vflc")
    except metadata.PackageNotFoundError:
        return "unknown"


def bits(settings: Mapping[str, Any], engine: str, threads: int | None) -> dict[str, Any]:
    """All that the bits of a step depend on, besides what others send."""
    what = ("digest", "data", "batch", "seed", "validation", "shuffle")
    library = import_module({"onnx": "onnxruntime", "keras": "tensorflow"}[engine])
    return {
        **{name: settings.get(name) for name in what},
        "engine": engine,
        "threads": threads or os.cpu_count(),
        "versions": [version(), numpy.__version__, library.__version__],
        "processor": _processor(),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line
    return f"{platform.machine()} {platform.processor()}"


def resumed_settings(run: RunFolder, options: Options) -> dict[str, Any]:
    """The settings of a run that goes on: how long may change, what is done may not (VFL0627)."""
    settings = dict(run.settings)
    for name in ("batch", "seed", "validation"):
        given = getattr(options, name)
        if given is not None and given != settings[name]:
            raise Failure(
                "VFL0627",
                f"{run.path} was started with {name} {settings[name]}, it cannot go on with {given}",
                f"leave out --{name}, or start anew with another --out",
            )
    for name in ("epochs", "steps", "checkpoint_steps"):
        given = getattr(options, name)
        if given is not None:
            settings[name] = given
    if options.epochs is not None and options.steps is None:
        settings["steps"] = None
    return settings
