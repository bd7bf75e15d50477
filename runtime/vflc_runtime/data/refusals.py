"""What makes a column unusable: said with the column, the key of the first such row, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from vflc_common.encoder import EncoderSettings
from vflc_common.encoders import ENCODERS, record
from vflc_common.values import Values

from vflc_runtime.data.keys import readable
from vflc_runtime.errors import Failure

EXAMPLES = 5
LARGEST = 1e140
"""Of numbers that an encoder is fitted to: the sum of their squares is finite, however many there are."""
MOST_VALUES = 4096
"""Values that a row may have where no `sequence` says how many: every row of a batch is as wide."""
Offsets = NDArray[np.int64] | None
"""Where each row's values start among the flat ones; None where each row has one."""
Codes = NDArray[np.int64] | None
"""Of each row, which of the distinct values it has; None where all rows are there."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """Looks at a column on its way through its encoders, and refuses what cannot be used.

    Args:
        name: `party.column`.
        kind: what the column is for.
        rows: how many ids it may have; None where any.
        where: its place in the spec.
    """

    name: str
    kind: str | None
    rows: int | None
    where: Any

    @contextmanager
    def converting(self, into: str) -> Iterator[None]:
        """Says which column was no text, or no number, where one was needed, or what its encoder raised.

        Raises:
            Failure: VFL0603.
        """
        try:
            yield
        except Failure:
            raise
        except Exception as error:
            self._plugin(into, error)
            if not isinstance(error, pa.ArrowInvalid | pa.ArrowNotImplementedError | pa.ArrowTypeError):
                raise
            raise Failure(
                "VFL0603",
                f"{self.name} cannot be encoded by {into}: {str(error).splitlines()[0]}",
                "check the column's declared type against its encoders",
                self.where,
            ) from None

    def _plugin(self, name: str, error: Exception) -> None:
        """VFL0504 where the encoder is another package's: it is not ours to say what was wrong."""
        plugin = ENCODERS.plugin(name) if name in ENCODERS else None
        if plugin is None:
            return
        said = (str(error).splitlines() or [""])[0]
        raise Failure(
            "VFL0504",
            f"{name!r} of the package {plugin.package} {plugin.version} cannot encode {self.name}: "
            f"{type(error).__name__}: {said}",
            f"report it to {plugin.package}, or encode the column by something else",
            self.where,
        ) from error

    def nothing_to_fit(self, encoder: str) -> Failure:
        """VFL0610: no training row has a value."""
        return Failure(
            "VFL0610",
            f"{self.name} has no values in the training rows to fit {encoder} to",
            "give the parameters in the spec, or use missing(…) before it",
            self.where,
        )

    def too_rare(self, encoder: EncoderSettings) -> Failure:
        """VFL0720: no value of the training rows occurs as often as an encoder wants."""
        return Failure(
            "VFL0720",
            f"no value of {self.name} occurs {encoder['min_count']} times in the training rows",
            "lower min_count, or train on more rows",
            self.where,
        )

    def outside(self, numbers: NDArray[np.float64], offsets: Offsets, keys: pa.Array, codes: Codes) -> None:
        """VFL0604 where one of `numbers` [values] is no id.

        `keys` [rows] are the rows', see `Offsets` and `Codes` for how values belong to rows.
        """
        outside = (numbers < 0) | (numbers != np.floor(numbers))
        outside |= numbers >= (np.iinfo(np.int32).max if self.rows is None else self.rows)
        if outside.any():
            at = int(np.flatnonzero(outside)[0])
            raise Failure(
                "VFL0604",
                f"{self.name} holds {numbers[at]:.15g} in the row with key "
                f"{_key(at, offsets, keys, codes)}, which is not an id from 0 to "
                f"{(self.rows or np.iinfo(np.int32).max) - 1}",
                "use index(n, default = other) or vocab(…) for values outside the range",
                self.where,
            )

    def unknown(
        self,
        encoder: EncoderSettings,
        before: Values,
        unknown: NDArray[np.bool_],
        keys: pa.Array,
        codes: Codes,
    ) -> None:
        """VFL0604 where a lookup does not know a value, as `unknown` [values] says."""
        found = np.flatnonzero(unknown)
        if not len(found):
            return
        values = dict.fromkeys(str(before.flat[int(i)].as_py()) for i in found[:100])
        examples = ", ".join(repr(value) for value in list(values)[:EXAMPLES])
        lookup = record(encoder).lookup
        assert lookup is not None, "no other encoder has values that it does not know"
        known = lookup.called(encoder)
        raise Failure(
            "VFL0604",
            f"{self.name} holds values that its {known} does not: {examples}"
            f"; first in the row with key {_key(int(found[0]), before.offsets, keys, codes)}",
            f"{lookup.help(encoder)}; a label has a class for each"
            if self.kind == "label"
            else f"{lookup.help(encoder)}, or give a default: default = other keeps an id for all others",
            self.where,
        )

    def large(self, encoder: str, numbers: NDArray[np.float64], offsets: Offsets, keys: pa.Array) -> None:
        """VFL0506 where one of `numbers` [values] is too large to fit an encoder to."""
        sizes = np.abs(numbers)
        if sizes.max(initial=0.0) > LARGEST:
            at = int(sizes.argmax())
            raise Failure(
                "VFL0506",
                f"{self.name} is {numbers[at]:g} in the row with key {_key(at, offsets, keys, None)}, "
                f"too large to fit {encoder} to",
                f"scale it first, as by -> log1p -> {encoder}, or leave such rows out",
                self.where,
            )

    def long(self, offsets: NDArray[np.int64], keys: pa.Array, codes: Codes) -> None:
        """VFL0635 where a row, from `offsets` [rows + 1], has too many values for all to be as wide."""
        lengths = np.diff(offsets)
        if lengths.max(initial=0) > MOST_VALUES:
            at = int(np.argmax(lengths))
            raise Failure(
                "VFL0635",
                f"{self.name} has {lengths[at]:,} values in the row with key {_key(at, None, keys, codes)}, "
                "and would make all rows that wide",
                f"a row may have {MOST_VALUES:,}; keep only the last values of each row: -> sequence(max "
                "= 100)",
                self.where,
            )

    def missing(self, flat: pa.Array, keys: pa.Array, codes: Codes) -> None:
        """VFL0610, as a value of `flat` [values] is missing."""
        null = pc.is_null(flat).to_numpy(zero_copy_only=False)
        rows = spread(null, codes)
        raise Failure(
            "VFL0610",
            f"{self.name} has no value in {int(rows.sum())} of {len(rows)} rows, "
            f"first in the row with key {readable(keys[int(np.argmax(rows))].as_py())!r}",
            "leave the rows out, or make the label of is_missing(…)"
            if self.kind == "label"
            else "leave the rows out, or say how much they count: -> missing(1)"
            if self.kind == "weight"
            else "add missing(value) to the encoders to fill such values, or leave the rows out",
            self.where,
        )


def spread(values: NDArray[Any], codes: Codes) -> NDArray[Any]:
    """Of each row [rows], from what the distinct values [values] have, by their `codes` [rows]."""
    return values if codes is None else values[codes]


def _key(at: int, offsets: Offsets, keys: pa.Array, codes: Codes) -> str:
    """The key of the first row that holds the flat value at `at`."""
    if offsets is not None:
        at = int(np.searchsorted(offsets, at, side="right")) - 1
    if codes is not None:
        at = int(np.argmax(codes == at))
    return repr(readable(keys[at].as_py()))
