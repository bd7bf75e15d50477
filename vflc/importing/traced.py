"""What an encoder is to Keras, noted down: the code that an export runs gives the graph that must be there.

Nodes are numbered by what they are, so that two graphs are equal where their numbers are, however often a
value is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from vflc.translation.graph import refuse

USUAL: dict[str, dict[str, Any]] = {
    "StringLookup": {
        "invert": False, "output_mode": "int", "sparse": False, "pad_to_max_tokens": False,
        "oov_method": "floormod", "encoding": "utf-8", "oov_token": "[UNK]",
    },
    "IntegerLookup": {
        "invert": False, "output_mode": "int", "sparse": False, "pad_to_max_tokens": False,
        "oov_method": "floormod", "vocabulary_dtype": "int64", "oov_token": -1,
    },
    "Hashing": {"output_mode": "int", "sparse": False},
    "Discretization": {"output_mode": "int", "sparse": False, "epsilon": 0.01},
    "Normalization": {"invert": False},
}  # fmt: skip
"""Layers that encoders use, with settings that need not be given."""
POSITIONAL = {
    "Cast": ("dtype",), "ExpandDims": ("axis",), "Clip": ("x_min", "x_max"), "Hashing": ("num_bins",),
}  # fmt: skip
NOT_COMPARED = {"name", "trainable", "vocabulary_size", "dtype"}
ROUNDS = ("Normalization", "Discretization")
"""Layers whose dtype says what they compute in."""


class Traced(Struct, frozen=True):
    """A value that is made of one input: its number, and its dtype where that matters."""

    number: int
    dtype: str


class Trace:
    """Numbers for values by what they are made of. It stands for the module `keras`, too."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def ops(self) -> Trace:
        return self

    @property
    def layers(self) -> Trace:
        return self

    def node(self, kind: str, inputs: list[Any], settings: Mapping[str, Any], dtype: str) -> Traced:
        """The value that an operation or a layer makes of values and constants."""
        read = [["value", x.number] if isinstance(x, Traced) else x for x in inputs]
        usual = USUAL.get(kind, {})
        given = {
            name: _plain(value)
            for name, value in settings.items()
            if value is not None and value is not False and value != [] and usual.get(name) != value
        }
        key = json.dumps([kind, read, given], sort_keys=True)
        return Traced(self._numbers.setdefault(key, len(self._numbers)), dtype)

    def input(self, dtype: str) -> Traced:
        return self.node("InputLayer", [], {}, dtype)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """An operation, or a layer's class."""
        if name == "convert_to_tensor":
            return lambda value, dtype: _constant(dtype, value.tolist())
        kind = name if name[0].isupper() else "".join(part.capitalize() for part in name.split("_"))

        def call(*given: Any, **settings: Any) -> Any:
            if kind in USUAL:
                named = {**dict(zip(POSITIONAL.get(kind, ()), given, strict=False)), **settings}
                return lambda value: self.node(
                    kind, [value], _layer(kind, named), _result(kind, [value], named)
                )
            count = len(given) - len(POSITIONAL.get(kind, ()))
            named = {**dict(zip(POSITIONAL.get(kind, ()), given[count:], strict=False)), **settings}
            inputs = [x if isinstance(x, (Traced, list)) else ["number", x] for x in given[:count]]
            return self.node(kind, inputs, named, _result(kind, inputs, named))

        return call

    def read(
        self, entry: Mapping[str, Any], node: Mapping[str, Any], value_of: Callable[[Any], Any]
    ) -> Traced:
        """The value that a node of a model's configuration makes.

        Args:
            entry: its layer or operation.
            node: one use of it.
            value_of: from the history of a tensor to what was traced.
        """
        kind, config = str(entry["class_name"]), entry["config"]
        inputs = [_argument(each, value_of) for each in node.get("args", [])]
        settings = {**config, **node.get("kwargs", {})}
        if kind in USUAL:
            return self.node(
                kind, inputs, _layer(kind, settings), _result(kind, inputs, _layer(kind, settings))
            )
        named = {
            n: v for n, v in settings.items() if n not in NOT_COMPARED or (n == "dtype" and kind == "Cast")
        }
        return self.node(kind, inputs, named, _result(kind, inputs, named))


def _layer(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a layer's settings say of what it computes."""
    found = {name: value for name, value in settings.items() if name not in NOT_COMPARED}
    dtype = settings.get("dtype")
    policy = dtype.get("config", {}).get("name") if isinstance(dtype, Mapping) else dtype
    return {**found, "policy": policy} if kind in ROUNDS else found


def _result(kind: str, inputs: list[Any], settings: Mapping[str, Any]) -> str:
    if kind in ("Cast", *ROUNDS):
        return str(settings.get("dtype") or settings.get("policy"))
    values = [x for x in inputs if isinstance(x, Traced)]
    return values[-1].dtype if values else ""


def _plain(value: Any) -> Any:
    """Numbers and lists as JSON has them; a list of one axis is the axis."""
    if isinstance(value, (list, tuple)):
        return _plain(value[0]) if len(value) == 1 else [_plain(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _constant(dtype: str, value: Any) -> list[Any]:
    """Numbers of an array; of floats in the one way that JSON has them."""
    flat = value if isinstance(value, list) else [value]
    if not all(isinstance(each, (int, float)) for each in flat):
        refuse(
            "VFL0712", "an operation on a column reads an array that encoders do not have", "export it again"
        )
    return ["constant", dtype, [float(x) for x in flat] if dtype.startswith("float") else flat]


def _argument(given: Any, value_of: Callable[[Any], Any]) -> Any:
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return ["number", given]
    if isinstance(given, Mapping) and isinstance(given.get("config"), Mapping):
        config = given["config"]
        if given.get("class_name") == "__keras_tensor__":
            return value_of(config.get("keras_history"))
        if given.get("class_name") in ("__tensor__", "__numpy__"):
            return _constant(str(config.get("dtype")), config.get("value"))
    refuse("VFL0712", "an operation on a column reads something that is no value", "export the model again")
