"""A party's ledger: what its rows have cost over all runs, within ε and δ, by receiver and column.

    LEDGER/PARTY.json              an entry for each mechanism, run, program and set of rows
    LEDGER/PARTY-….safetensors     the keys of a set of rows, each as a number
    LEDGER/PARTY.lock              held while the ledger is read and changed

A row is known again by its key, in whatever file it lies and whatever else has changed in it: the
same table under another name, a part of it, or with new rows counts for the rows it has. Tables of
different things whose keys are alike are taken for the same rows, which is too much and never too little.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from vflc_common.arrays import RowKeys
from vflc_common.siphash import siphash

from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import epsilon_of

FORMAT = 1
SLACK = 1 + 1e-6
"""Calibration finds ε to about a millionth."""
Reach = tuple[str, str]
"""A receiver, and what the party calls the feature, label or column that it learns of."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one mechanism of one run tells of some rows.

    Args:
        run: its name; of a mechanism that draws once for each row the name of the draws.
        model: as the spec is called, for people.
        guard, mechanism: which it is.
        program: in which the rows take part.
        rows: name of the set of rows, `count` of them.
        reaches: whom it tells of what.
        messages: of a row that have noise, or may have by the end of the run.
        noise: of a message, as a multiple of the clip; None of a mechanism that has none.
        epsilon: of a mechanism without noise, which tells of a row once.
        delta: at which ε is asked for; of a run once, however many its programs.
        resumed: for how many epochs the run went on otherwise than before, once it has begun; None before.
    """

    run: str
    model: str
    guard: str
    mechanism: str
    program: str
    rows: str
    count: int
    reaches: tuple[Reach, ...]
    messages: int
    noise: float | None
    epsilon: float
    delta: float
    resumed: int | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What there is one entry of."""
        return (self.run, self.guard, self.program, self.rows)

    @property
    def square(self) -> float:
        """μ², which adds up over Gaussian mechanisms: exchanging a row moves a message by twice the clip."""
        return 0.0 if self.noise is None else 4.0 * self.messages / self.noise**2


Entries = dict[tuple[str, ...], Entry]
Limits = Mapping[Reach, float]


@dataclass(frozen=True, slots=True)
class Spent:
    """What rows have cost at most, of one receiver and column."""

    epsilon: float
    delta: float


class Ledger:
    """The ledger of one party in a folder."""

    def __init__(self, folder: Path, party: str) -> None:
        self.folder, self.party = folder, party
        self.path = folder / f"{party}.json"

    def change(
        self, change: Callable[[Entries], Entries], keys: Mapping[str, RowKeys], limits: Limits
    ) -> None:
        """Replaces or adds entries, unless with them rows would have cost more than a limit.

        Args:
            change: gives the entries that are new or other than before.
            keys: of the sets of rows that these name and may be new, uint64 [rows], ascending.
            limits: the most ε that is granted, by receiver and column.

        Raises:
            Failure: VFL0684, more would be told than is granted; VFL0685, the ledger cannot be read;
                VFL0612, it cannot be written; VFL0659, others can.
        """
        with self._locked():
            before = self.entries()
            new = change(before)
            after = before | new
            self._check(before, after, new, keys, limits)
            with files.writing(self.path):
                for name, numbers in keys.items():
                    if not self._rows_file(name).exists():
                        temporary = self.folder / f".{self.party}.rows.new"
                        files.write_tensors(temporary, {"keys": numbers}, {})
                        temporary.rename(self._rows_file(name))
                content = {"format": FORMAT, "party": self.party}
                listed = [asdict(entry) for entry in after.values()]
                text = json.dumps({**content, "entries": listed}, indent=1, ensure_ascii=False)
                files.replace_with(self.path, (text + "\n").encode())

    def entries(self) -> Entries:
        """All entries; VFL0685 where the file is none, or another party's."""
        try:
            content = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._damaged(str(error)) from None
        files.check_secret(self.path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise self._damaged(f"it is not a ledger of format {FORMAT}")
        if content.get("party") != self.party:
            raise self._damaged(f"it is the ledger of {content.get('party')!r}")
        try:
            found = [_entry(item) for item in content["entries"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._damaged("it has an invalid entry") from None
        return {entry.key: entry for entry in found}

    def spent(self, entries: Entries, reach: Reach, rows: RowKeys, new: Mapping[str, RowKeys]) -> Spent:
        """What the costliest of `rows` [n] has cost in what `reach` names; `new` are sets not written yet."""
        told = [entry for entry in entries.values() if reach in entry.reaches]
        square, pure, delta = np.zeros((3, len(rows)))
        counted: dict[tuple[str, str], NDArray[np.bool_]] = {}
        for entry in told:
            among = np.isin(rows, self._keys(entry.rows, new), assume_unique=True)
            square[among] += entry.square
            once = counted.setdefault((entry.run, entry.guard), np.zeros(len(rows), bool))
            pure[among & ~once] += entry.epsilon
            delta[among & ~once] += entry.delta
            once |= among
        worst = Spent(0.0, 0.0)
        for s, p, d in np.unique(np.stack([square, pure, delta]), axis=1).T:
            epsilon = float(p) + epsilon_of(math.sqrt(s), float(d))
            worst = max(worst, Spent(epsilon, float(d)), key=lambda each: each.epsilon)
        return worst

    def rows(self, names: Sequence[str]) -> RowKeys:
        """The rows of some sets together, uint64 [rows], ascending."""
        found = [self._keys(name, {}) for name in dict.fromkeys(names)]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint64)

    def _check(
        self, before: Entries, after: Entries, new: Entries, keys: Mapping[str, RowKeys], limits: Limits
    ) -> None:
        known: dict[tuple[Any, ...], Spent] = {}
        for reach, limit in limits.items():
            rows = dict.fromkeys(entry.rows for entry in new.values() if reach in entry.reaches)
            if not rows:
                continue
            told = frozenset(key for key, entry in after.items() if reach in entry.reaches)
            for name in rows:
                if (told, name) not in known:
                    known[told, name] = self.spent(after, reach, self._keys(name, keys), keys)
                if known[told, name].epsilon > limit * SLACK:
                    so_far = self.spent(before, reach, self._keys(name, keys), keys)
                    raise self._exceeded(reach, limit, so_far, known[told, name])

    def _exceeded(self, reach: Reach, limit: float, before: Spent, after: Spent) -> Failure:
        receiver, name = reach
        return Failure(
            "VFL0684",
            f"{receiver} may learn {self.party}.{name} within ε = {limit:g}; these rows have cost "
            f"{before.epsilon:.4g} so far, and this would make it {after.epsilon:.4g}",
            "use rows that have not been used so often, ask the mechanism for less, or grant more, as in "
            f"`to {receiver}: {name} at most epsilon {math.ceil(after.epsilon)}`; "
            f"`vflc ledger {self.folder}` shows what was spent",
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the ledger against other processes, which wait."""
        with files.writing(self.path):
            files.make_folder(self.folder)
            lock = open(self.folder / f"{self.party}.lock", "w", opener=files.private)  # noqa: SIM115
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _rows_file(self, name: str) -> Path:
        return self.folder / f"{self.party}-{name}.safetensors"

    def _keys(self, name: str, new: Mapping[str, RowKeys]) -> RowKeys:
        if name in new:
            return new[name]
        try:
            keys = files.read_tensors(self._rows_file(name))[0]["keys"]
        except (Failure, KeyError) as error:
            raise self._damaged(f"the rows {name} are lost ({error})") from None
        if keys.dtype != np.uint64 or name_of(keys) != name:
            raise self._damaged(f"the rows {name} have changed since they were written")
        return keys

    def _damaged(self, why: str) -> Failure:
        return Failure(
            "VFL0685",
            f"the ledger {self.path} cannot be read: {why}",
            "restore it from a copy: a new ledger would not know what these rows have cost",
        )


def keys_of(keys: pa.Array) -> RowKeys:
    """Keys of rows [rows] as numbers, ascending and each once: [distinct].

    Two keys are one number with hardly any chance.
    """
    return np.unique(numbered(keys))


def numbered(keys: pa.Array) -> RowKeys:
    """The number of each key, uint64 [rows], in the order of the rows."""
    return siphash([str(key).encode() for key in keys.to_pylist()], 0, 0)


def name_of(keys: RowKeys) -> str:
    """What a set of rows, uint64 [rows], is called: 32 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(keys, "<u8").tobytes()).hexdigest()[:32]


def _entry(item: Mapping[str, Any]) -> Entry:
    """An entry as read; ValueError, KeyError or TypeError where it is none."""
    if set(item) != {each.name for each in fields(Entry)}:
        raise ValueError
    texts = [item[name] for name in ("run", "model", "guard", "mechanism", "program", "rows")]
    reaches = tuple((receiver, name) for receiver, name in item["reaches"])
    texts += [text for reach in reaches for text in reach]
    wholes = [item["count"], item["messages"], *([] if item["resumed"] is None else [item["resumed"]])]
    numbers = [item["epsilon"], item["delta"], *([] if item["noise"] is None else [item["noise"]])]
    good = all(isinstance(text, str) for text in texts)
    good = good and all(type(whole) is int and whole >= 0 for whole in wholes)
    good = good and all(type(n) in (int, float) and math.isfinite(n) and n >= 0 for n in numbers)
    if not good or (item["noise"] is not None and item["noise"] < 1e-100) or item["delta"] >= 1:
        raise ValueError
    if any(part in item["rows"] for part in "/\\."):
        raise ValueError
    return Entry(**{**item, "reaches": reaches})


def forgotten(ledger: Ledger) -> Failure:
    """VFL0686: a run was counted, and there is no entry of it."""
    return Failure(
        "VFL0686",
        f"the ledger {ledger.path} has no entry for this run, which was counted in it",
        "restore the ledger from a copy: it no longer knows what rows have cost",
    )
