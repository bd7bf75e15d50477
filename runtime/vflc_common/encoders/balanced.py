"""How much a row counts so that every class counts as much in all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from vflc_common.encoder import (
    ArgumentType,
    Encoder,
    EncoderParameter,
    EncoderSettings,
    Fit,
    Python,
    is_number,
)
from vflc_common.encoding import of_numbers
from vflc_common.numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 10_000
"""Classes that can be told apart."""
_NUMBERS = ArgumentType(
    "a list of numbers", lambda value: isinstance(value, list) and bool(value) and all(map(is_number, value))
)


def wrong(settings: EncoderSettings, kind: str) -> str | None:
    sizes = [len(settings[name]) for name in ("classes", "weights") if settings[name] is not None]
    return None if len(set(sizes)) <= 1 and len(sizes) in (0, 2) else "`balanced` has a weight for each class"


class _Counted:
    """How often each class occurs."""

    def __init__(self) -> None:
        self.count, self._each = 0, Counter[float]()

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Takes in some more classes [n]."""
        self.count += len(numbers)
        classes, counts = np.unique(numbers, return_counts=True)
        self._each.update(dict(zip(classes.tolist(), counts.tolist(), strict=True)))
        if len(self._each) > MOST:
            raise ValueError(f"it has more than {MOST:,} classes")

    def weights(self) -> dict[str, list[float]]:
        """As scikit-learn's `balanced`: rows by classes, by the rows of the class."""
        classes = sorted(self._each)
        mean = self.count / len(classes)
        return {"classes": classes, "weights": [mean / self._each[each] for each in classes]}


def balanced(value: float, step: EncoderSettings) -> float:
    """1 for a class that no training row had."""
    found = [w for c, w in zip(step["classes"], step["weights"], strict=True) if c == float(value)]
    return float(found[0]) if found else 1.0


def _of_block(numbers: NDArray[np.float64], settings: EncoderSettings) -> NDArray[Any]:
    classes, weights = np.array(settings["classes"]), np.array(settings["weights"])
    at = np.minimum(np.searchsorted(classes, numbers), len(classes) - 1)
    return np.where(classes[at] == numbers, weights[at], 1.0)


def by_class() -> EncoderSettings:
    """The link that counts classes in the training rows."""
    return {"name": ENCODER.name, "classes": None, "weights": None}


ENCODER = Encoder(
    name="balanced",
    doc="How much a row counts, so that all classes count as much in all: the mean number of training rows "
    "of a class, divided by the number of the row's own. At the end of a label, it is a weight in the losses "
    "of the label, and leaves the label as it is.",
    step="the weight at the value's place among `classes`; 1 of any other value",
    reads=("id", "int", "float"),
    gives="float",
    parameters=(
        EncoderParameter("classes", _NUMBERS),
        EncoderParameter("weights", _NUMBERS),
    ),
    wrong=wrong,
    python=Python(balanced),
    encode=of_numbers(_of_block),
    fit=Fit(
        start=_Counted,
        result=lambda counted, settings: counted.weights(),
        settled=lambda settings: settings,
        neutral={"classes": [0.0], "weights": [1.0]},
    ),
    keeps_units=True,  # it is in no label's chain: nothing is predicted in its numbers
    known_as={"class_weight": "write balanced at the end of the label"},
)
