"""One layer as the configuration describes it, and the checks that all of them share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite, prod
from typing import Any

from msgspec import Struct

from vflc.importing.archive import Archive
from vflc.translation.graph import DAMAGED, refuse

EVERYWHERE = {
    "name", "dtype", "trainable", "batch_input_shape", "batch_shape", "activity_regularizer", "seed",
    "quantization_config", "lora_rank", "lora_alpha",
}  # fmt: skip
"""Settings of all layers. `only` looks at those among them that change what is computed."""
PRECISIONS = {"float32", "float64", "int32", "int64", "string"}


class Layer(Struct, eq=False):
    """A layer.

    Args:
        kind: its class.
        path: where the archive's weights have it.
        calls: how often the model uses it: weights that are used twice are shared.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    path: str
    archive: Archive
    calls: int = 1

    @property
    def named(self) -> bool:
        """Whether a person gave it its name."""
        return re.fullmatch(rf"{snake(self.kind)}(_\d+)?", self.name) is None

    def size(self, key: str) -> int:
        """A size among the settings, at least 1."""
        value = self.config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
            refuse("VFL0700", f"`{self.name}` has {key} = {str(value)[:40]}", DAMAGED)
        return value

    def fraction(self, key: str, default: float) -> float:
        """A number among the settings."""
        return plain(self.config.get(key, default))

    def array(self, variable: str) -> Any:
        """A variable of the layer from the archive's weights."""
        from vflc.importing.keras_weights import read

        return read(self.archive, f"{self.path}/vars/{variable}")


def snake(kind: str) -> str:
    """A class's name as Keras makes names of layers and of groups of weights from it."""
    kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()


def plain(value: Any) -> float:
    """A finite number, at the fewest digits that Keras's float32 has of it."""
    if isinstance(value, bool) or (not isinstance(value, (int, float)) and not hasattr(value, "item")):
        refuse("VFL0700", f"{str(value)[:40]!r} stands where a number is due", DAMAGED)
    number = float(value)
    if not isfinite(number):
        refuse("VFL0700", f"{number} stands where a finite number is due", DAMAGED)
    from vflc_common.numpy import np

    short = float(str(np.float32(number)))
    return short if abs(short) < 1e30 and np.float32(number) == np.float64(number) else number


def only(layer: Layer, **allowed: Any) -> None:
    """Refuses what a layer is set to and the language cannot express; VFL0701.

    Each setting has one value, or a tuple of those that are taken, or `...` where all are.
    """
    for key, value in layer.config.items():
        if key in allowed:
            taken = allowed[key]
            if taken is not ... and value not in (taken if isinstance(taken, tuple) else (taken,)):
                refuse(
                    "VFL0701",
                    f"`{layer.name}` ({layer.kind}) has {key} = {_short(value)}, which has no counterpart",
                    f"make it with {key} = {_wanted(taken)}, or write this part of the spec by hand",
                )
        elif key not in EVERYWHERE:
            refuse(
                "VFL0701",
                f"`{layer.name}` ({layer.kind}) has a setting `{key}` that is not known here",
                "save the model with a version of Keras 3 that this one reads, or without it",
            )
    for key in ("activity_regularizer", "quantization_config", "lora_rank"):
        if layer.config.get(key) is not None:
            refuse(
                "VFL0701",
                f"`{layer.name}` ({layer.kind}) has {key}, which has no counterpart",
                "make it without",
            )
    dtype = layer.config.get("dtype")
    policy = dtype.get("config", {}).get("name") if isinstance(dtype, Mapping) else dtype
    if policy not in (*PRECISIONS, None):
        refuse("VFL0701", f"`{layer.name}` computes in {policy}", "save it with dtype float32 or float64")


def trained(layer: Layer) -> None:
    """VFL0701 where a layer's weights are frozen."""
    if layer.config.get("trainable") is False:
        refuse(
            "VFL0701",
            f"`{layer.name}` ({layer.kind}) is frozen: trainable = False has no counterpart",
            "set trainable = True before the model is saved, or give it a rate of 0 in the spec afterwards",
        )


def _wanted(taken: Any) -> str:
    return " or ".join(map(_short, taken)) if isinstance(taken, tuple) else _short(taken)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("class_name", "an object"))[:40]
    return str(value)[:40] if not isinstance(value, str) else f"{value[:40]!r}"


def function_name(value: Any) -> str:
    """The name of an activation, a loss or a metric that is given as a function."""
    if value is None:
        return "linear"
    if isinstance(value, Mapping):
        inner = value.get("config")
        if value.get("class_name") == "function" and isinstance(inner, str):
            return inner
        return snake(str(value.get("class_name")))
    return str(value)


INITIAL = {"GlorotUniform", "Zeros", "Ones", "RandomUniform", "RandomNormal", "HeUniform", "LecunUniform"}


def first_values(layer: Layer, key: str, shape: tuple[int, ...], notes: list[str]) -> dict[str, Any]:
    """`init` and `scale` of an initializer; a note where the language has only one of the same spread."""
    given = layer.config.get(key)
    kind = str(given.get("class_name")) if isinstance(given, Mapping) else str(given)
    settings = given.get("config") or {} if isinstance(given, Mapping) else {}
    fan_in = prod(shape[:-1])
    match kind:
        case "GlorotUniform":
            return {"init": "glorot_uniform"}
        case "Zeros":
            return {"init": "zeros"}
        case "Ones":
            return {"init": "ones"}
        case "HeUniform":
            return {"init": "uniform", "scale": (6 / fan_in) ** 0.5}
        case "LecunUniform":
            return {"init": "uniform", "scale": (3 / fan_in) ** 0.5}
        case "RandomUniform" if settings.get("minval", -0.05) == -settings.get("maxval", 0.05):
            return {"init": "uniform", "scale": plain(settings.get("maxval", 0.05))}
        case "RandomNormal" if settings.get("mean", 0) == 0:
            return {"init": "normal", "scale": plain(settings.get("stddev", 0.05))}
        case "HeNormal":
            scale = (2 / fan_in) ** 0.5
        case "LecunNormal":
            scale = (1 / fan_in) ** 0.5
        case "GlorotNormal":
            scale = (2 / (fan_in + shape[-1])) ** 0.5
        case "TruncatedNormal" if settings.get("mean", 0) == 0:
            scale = 0.8796 * plain(settings.get("stddev", 0.05))
        case _:
            refuse(
                "VFL0701",
                f"`{layer.name}` ({layer.kind}) starts with {kind[:40]}, which has no counterpart",
                "use GlorotUniform, RandomUniform, RandomNormal, HeUniform, LecunUniform, Zeros or Ones",
            )
    notes.append(
        f"`{layer.name}` starts from a normal distribution of {kind}'s spread, which is not cut off."
    )
    return {"init": "normal", "scale": float(f"{scale:.6g}")}
