"""What a plan says for the Keras engine: where models hold weights, and which gradients to take."""

from __future__ import annotations

from dataclasses import dataclass

from vflc_runtime.bundle.reading import Json


@dataclass(frozen=True, slots=True)
class LayerVariable:
    """A weight lies in the variable `index` of the layer `layer`; both have its size."""

    weight: str
    layer: str
    index: int


@dataclass(frozen=True, slots=True)
class Seed:
    """What the gradient of a value starts from: a loss's coefficient, or a gradient received."""

    value: str
    coefficient: float | None
    gradient: str | None


@dataclass(frozen=True, slots=True)
class RowGradient:
    """The gradient of a table, as the distinct rows among the ids in `read` and their gradient."""

    weight: str
    read: tuple[str, ...]
    ids: str
    gradient: str


@dataclass(frozen=True, slots=True)
class TapePlan:
    """One use of the tape.

    Args:
        crossing: (id of the gradient, the value it is of).
        dense: (id of the flat gradient, its weights in order).
        received: of weights that other places read, ids of the gradients that came back.
    """

    seeds: tuple[Seed, ...]
    crossing: tuple[tuple[str, str], ...]
    dense: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[RowGradient, ...]
    received: dict[str, tuple[str, ...]]


def read_held(items: Json) -> tuple[LayerVariable, ...]:
    """Reads `held`; VFL0613 where it is not as it must be."""
    return tuple(LayerVariable(i["weight"].text(), i["layer"].text(), i["index"].integer()) for i in items)


def read_gradients(item: Json) -> TapePlan:
    """Reads `gradients`; VFL0613 where it is not as it must be."""
    return TapePlan(
        seeds=tuple(_seed(seed) for seed in item["seeds"]),
        crossing=tuple((each["gradient"].text(), each["value"].text()) for each in item["crossing"]),
        dense=tuple((each["gradient"].text(), each["weights"].texts()) for each in item["dense"]),
        rows=tuple(
            RowGradient(
                each["weight"].text(), each["read"].texts(), each["ids"].text(), each["gradient"].text()
            )
            for each in item["rows"]
        ),
        received={name: names.texts() for name, names in item["received"].items()},
    )


def _seed(item: Json) -> Seed:
    coefficient, gradient = item.get("coefficient"), item.get("gradient")
    if (coefficient is None) == (gradient is None):
        raise item.wrong("a coefficient or a gradient")
    return Seed(
        item["value"].text(),
        None if coefficient is None else coefficient.number(),
        None if gradient is None else gradient.text(),
    )
