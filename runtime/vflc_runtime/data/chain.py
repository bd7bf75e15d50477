"""Chains of encoders: one raw column becomes ids or numbers, and what could not be placed is counted.

All encoders are functions of one value, so a text column is encoded over its distinct values and
spread out again; nothing loops over rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from vflc_common.backends import ColumnStatistic
from vflc_common.encoder import DEFAULT, EncoderSettings, width_of
from vflc_common.encoders import length, record
from vflc_common.encoding import numbers_of
from vflc_common.text import text
from vflc_common.values import Values
from vflc_common.words import vector_width

from vflc_runtime.data.encoders import encode, plain, present
from vflc_runtime.data.refusals import EXAMPLES, Codes, Offsets, Refusals, spread

ChainState = list[dict[str, Any] | None]
"""What a chain has fitted: of each encoder its parameters, or None. Of a vector each is a list."""

WIDE, SPARSE = 64, 16
"""A column is said to be too wide for its rows from more values than WIDE on, SPARSE times the mean."""


@dataclass
class UnplacedCounts:
    """What a chain could not place: unknown values (with examples) and missing ones.

    Attributes:
        expected: the first values of the lookup.
        known: how often a value was one of them.
        widest: the most values of a row, which all rows are padded to; 0 where that is the spec's to say.
        values: of all rows.
        rows: how many.
    """

    unknown: int = 0
    missing: int = 0
    examples: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    known: int = 0
    widest: int = 0
    values: int = 0
    rows: int = 0

    def report(self) -> dict[str, Any]:
        """As JSON; with `expected` where there were values, and every one of them was unknown.

        With `widest` and the `mean` where a few rows make the column far wider than most need it.
        """
        counted = {"unknown": self.unknown, "missing": self.missing, "examples": self.examples}
        if not self.known and self.unknown:
            counted["expected"] = self.expected
        if self.widest > WIDE and self.widest * self.rows > SPARSE * self.values:
            counted |= {"widest": self.widest, "mean": round(self.values / self.rows, 1)}
        return counted


class EncoderChain:
    """The encoders of one column.

    Args:
        name: `party.column`, for messages and reports.
        column: the column as in encoders.json: `encoders`, `shape`, `rows` and `where` are read.
        state: what was fitted before; None to fit.
    """

    def __init__(self, name: str, column: Mapping[str, Any], state: ChainState | None = None) -> None:
        self.name, self.shape, self.where = name, column["shape"], column.get("where")
        self.encoders: Sequence[EncoderSettings] = column.get("encoders", ())
        self.kind = column.get("kind")
        self.width = vector_width(column.get("type"))
        self.rows: int | None = column.get("rows")
        self.length = length(self.encoders)
        lookups = ((e, lookup) for e in self.encoders if (lookup := record(e).lookup) is not None)
        listed = next((lookup.values(e)[:EXAMPLES] for e, lookup in lookups), ())
        self.counts = UnplacedCounts(expected=[text(value) for value in listed])
        self.state: ChainState = list(state) if state is not None else [None] * len(self.encoders)
        self._statistics: list[ColumnStatistic] = []
        self._refuse = Refusals(name, self.kind, self.rows, self.where)

    @property
    def unfitted(self) -> int | None:
        """The position of the first encoder whose parameters must still be fitted."""
        for i, encoder in enumerate(self.encoders):
            if self.state[i] is None and record(encoder).unfitted(encoder):
                return i
        return None

    def observe(self, values: pa.Array, keys: pa.Array) -> None:
        """Takes in training rows, values and keys [rows], for the first encoder that is not fitted.

        Raises:
            Failure: VFL0506, a number is too large; VFL0603, text where a number is needed.
        """
        at = self.unfitted
        if at is None:
            return
        fit = record(self.encoders[at]).fit
        assert fit is not None, "what is not fitted can be"
        for component, part in enumerate(self._components(values)):
            given = _pieces(part) if pa.types.is_list(part.type) else Values(present(part))
            encoded = self._run(given, keys, self.encoders[:at], None, component)
            taken: Any = encoded.flat.drop_null()
            if not pa.types.is_string(encoded.flat.type) or fit.of == "numbers":
                with self._refuse.converting("what is fitted to it"):
                    numbers, null = numbers_of(encoded.flat)
                self._refuse.large(self.encoders[at]["name"], numbers, encoded.offsets, keys)
                taken = numbers[~null] if fit.of == "numbers" else taken
            with self._refuse.converting(self.encoders[at]["name"]):
                if component == len(self._statistics):
                    self._statistics.append(fit.start())
                self._statistics[component].add(taken)

    def settle(self) -> None:
        """Fits the first encoder that is not fitted to the rows observed.

        Raises:
            Failure: VFL0610 where they hold no value at all, VFL0504 where another package's fits no number.
        """
        at = self.unfitted
        if at is None:
            return
        encoder, statistics, self._statistics = self.encoders[at], self._statistics, []
        if not statistics or not all(statistic.count for statistic in statistics):
            raise self._refuse.nothing_to_fit(encoder["name"])
        found = [self._fitted(encoder, statistic) for statistic in statistics]
        self.state[at] = (
            found[0] if self.width is None else {n: [each[n] for each in found] for n in found[0]}
        )

    def _fitted(self, encoder: EncoderSettings, statistic: ColumnStatistic) -> dict[str, Any]:
        fit = record(encoder).fit
        assert fit is not None, "what is not fitted can be"
        with self._refuse.converting(encoder["name"]):
            fitted = fit.result(statistic, encoder)
            given = {name: encoder.get(name) for name in fit.neutral}
            state = {name: plain(fitted[name] if v is None else v, fit) for name, v in given.items()}
            for name, value in state.items():
                parts = value if isinstance(value, list) else [value]
                if not all(isinstance(part, str) or math.isfinite(part) for part in parts):
                    raise ValueError(f"fitted {name} is {value}")
        if [] in state.values():
            raise self._refuse.too_rare(encoder)
        return state

    def _components(self, values: pa.Array) -> list[pa.Array]:
        """A vector's numbers, each as a column [n]; of every other column itself."""
        if self.width is None:
            return [values]
        absent = values.is_null()
        inside = values.values.slice(values.offset * self.width, len(values) * self.width)
        table, gaps = inside.to_numpy(zero_copy_only=False), inside.is_null().to_numpy(zero_copy_only=False)
        gone = gaps.reshape(-1, self.width) | absent.to_numpy(zero_copy_only=False)[:, None]
        columns = table.reshape(-1, self.width).T
        return [
            pa.array(np.ascontiguousarray(column), pa.float64(), mask=np.ascontiguousarray(mask))
            for column, mask in zip(columns, gone.T, strict=True)
        ]

    def encode(self, values: pa.Array, keys: pa.Array) -> NDArray[np.generic]:
        """Encodes rows.

        Args:
            values: string, int64, double, bool or list [n], null where missing; not finite is missing too.
            keys: the rows' keys [n], for messages.

        Returns:
            int32 [n] for shape "id"; int32 [n, L] padded with -1 for "ids", L the longest row here, or
            the `max` of a sequence;
            float64 [n, 1] for "number" and [n, k] for "vector".

        Raises:
            Failure: VFL0603, VFL0604, VFL0610.
        """
        if self.width is not None:
            return self._vectors(values, keys)
        values = present(values)
        self.counts.missing += values.null_count
        if pa.types.is_list(values.type):
            given, codes = _pieces(values), None
        else:
            distinct, codes = self._distinct(values)
            given = Values(distinct)
        done = self._run(given, keys, self.encoders, codes)
        self._count_unknown(done, codes)
        if done.offsets is not None:
            if self.length is None:
                self._refuse.long(done.offsets, keys, codes)
            self._count_widths(np.diff(done.offsets), codes)
            return _padded(self._ids(done, keys, codes), done.offsets, codes, self.length)
        if done.flat.null_count:
            self._refuse.missing(done.flat, keys, codes)
        if self.shape == "vector":  # a pair
            return spread(done.flat.flatten().to_numpy().reshape(-1, width_of(None)), codes)
        if self.shape == "number":
            with self._refuse.converting("its use as a number"):
                numbers, _ = numbers_of(done.flat)
            return spread(numbers, codes).reshape(-1, 1)
        return spread(self._ids(done, keys, codes), codes)

    def _vectors(self, values: pa.Array, keys: pa.Array) -> NDArray[np.generic]:
        self.counts.missing += values.null_count
        made = np.empty((len(values), self.width or 0))
        for component, part in enumerate(self._components(values)):
            done = self._run(Values(present(part)), keys, self.encoders, None, component)
            if done.flat.null_count:
                self._refuse.missing(done.flat, keys, None)
            with self._refuse.converting("its use as a number"):
                made[:, component], _ = numbers_of(done.flat)
        return made

    def _distinct(self, values: pa.Array) -> tuple[pa.Array, Codes]:
        """Distinct values and each row's position among them; None where that would not pay."""
        records = map(record, self.encoders)
        costly = any(encoder.dear or encoder.encode is None for encoder in records)
        if not (pa.types.is_string(values.type) or (pa.types.is_integer(values.type) and costly)):
            return values, None
        encoded = values.dictionary_encode()
        dictionary = encoded.dictionary
        if values.null_count:
            dictionary = pa.concat_arrays([dictionary, pa.nulls(1, dictionary.type)])
        codes = encoded.indices.fill_null(len(dictionary) - 1)
        return dictionary, codes.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)

    def _run(
        self,
        values: Values,
        keys: pa.Array,
        encoders: Sequence[EncoderSettings],
        codes: Codes,
        component: int = 0,
    ) -> Values:
        for encoder, state in zip(encoders, self.state, strict=False):
            fitted = part_of(state, component) if state and self.width is not None else state
            with self._refuse.converting(encoder["name"]):
                result = encode(values, encoder, fitted)
            looks_up = record(encoder).lookup is not None
            if looks_up and result.unknown is not None and encoder.get(DEFAULT) is None:
                self._refuse.unknown(encoder, values, result.unknown, keys, codes)
            values = result
        return values

    def _ids(self, values: Values, keys: pa.Array, codes: Codes) -> NDArray[np.int32]:
        """The flat values as ids; checks that they lie in the column's range."""
        with self._refuse.converting("its use as an id"):
            numbers, _ = numbers_of(values.flat)
        self._refuse.outside(numbers, values.offsets, keys, codes)
        return numbers.astype(np.int32)

    def _count_widths(self, lengths: NDArray[np.int64], codes: Codes) -> None:
        if self.length is None:
            self.counts.widest = max(self.counts.widest, int(lengths.max(initial=0)))
            self.counts.values += int(spread(lengths, codes).sum())
            self.counts.rows += len(lengths) if codes is None else len(codes)

    def _count_unknown(self, done: Values, codes: Codes) -> None:
        if done.unknown is None or done.looked_up is None:
            return
        known = pc.is_valid(done.looked_up).to_numpy(zero_copy_only=False) & ~done.unknown
        self.counts.unknown += _occurrences(done.unknown, done.offsets, codes)
        self.counts.known += _occurrences(known, done.offsets, codes)
        for at in np.flatnonzero(done.unknown):
            if len(self.counts.examples) == EXAMPLES:
                break
            example = str(done.looked_up[int(at)].as_py())
            if example not in self.counts.examples:
                self.counts.examples.append(example)


def _pieces(lists: pa.Array) -> Values:
    """The values of lists [n], without those that are missing; a list that is missing has none."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    flat = lists.flatten()
    kept = flat.is_valid()
    before = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False))])
    return Values(flat.filter(kept), before[np.concatenate([[0], np.cumsum(lengths)])])


def part_of(state: Mapping[str, Any], component: int) -> dict[str, Any]:
    """What one component of a vector is encoded with."""
    return {name: v[component] if isinstance(v, list) else v for name, v in state.items()}


def _occurrences(which: NDArray[np.bool_], offsets: Offsets, codes: Codes) -> int:
    """How often these of the flat values occur in the rows."""
    each = which.astype(np.int64)
    if offsets is not None:
        each = np.diff(np.concatenate([[0], np.cumsum(each)])[offsets])
    return int((each if codes is None else each[codes]).sum())


def _padded(
    ids: NDArray[np.int32], offsets: NDArray[np.int64], codes: Codes, width: int | None
) -> NDArray[np.int32]:
    lengths = np.diff(offsets)
    if width is None:
        width = max(int(lengths.max(initial=0)), 1)
    block = np.full((len(lengths), width), -1, np.int32)
    block[np.arange(block.shape[1]) < lengths[:, None]] = ids
    return spread(block, codes)
