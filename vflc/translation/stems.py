"""Names for what repeats, from the names of its layers: what they have in common, and in what they differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

from msgspec import Struct

from vflc.ops import FUNCTIONS
from vflc.translation.names import RESERVED

NameWords = tuple[str, ...]


class Stems(Struct, frozen=True):
    """Names of a repeated structure.

    Args:
        stem: of all of it, `tower` of `tower_user` and `tower_item`.
        uses: what tells its uses apart, `user` and `item`; "" where nothing does.
        parts: what is left for each of its pieces; "" where nothing is.
        inputs: and for each value that it reads.
    """

    stem: str
    uses: tuple[str, ...]
    parts: tuple[str, ...]
    inputs: tuple[str, ...]


class _Split(Struct, frozen=True):
    """Names of one piece in all uses: what they begin with, what differs, and what they end with."""

    before: NameWords
    differ: tuple[str, ...]
    after: NameWords


def stems(names: Sequence[Sequence[str]], inputs: Sequence[Sequence[str]], told: str, usual: str) -> Stems:
    """Names of a structure.

    Args:
        names: of its pieces, each in all uses; "" where a piece has no name.
        inputs: of what it reads, likewise.
        told: its name, where names only tell its uses apart.
        usual: its name, where they do not even do that.
    """
    splits, given = ([_split(each) if all(each) else None for each in rows] for rows in (names, inputs))
    telling = Counter(each.differ for each in splits if each and _tells(each.differ))
    uses = telling.most_common(1)[0][0] if telling else ("",) * len(names[0])
    numbered = uses[0].replace("_", "").isdigit()
    words = _stem([each for each in splits if each and each.differ == uses])
    common = [word for word in uses[0].split("_") if all(word in use.split("_") for use in uses)]
    stem = next((word for word in reversed((*common, *words)) if _good(word)), "")
    if not stem:
        words, stem = (), "layer" if numbered else told if telling else usual
    stem = _one_of(stem) if numbered else stem
    parts, read = (tuple(_part(each, words) for each in rows) for rows in (splits, given))
    return Stems(stem, tuple(f"{stem}_{use}" if numbered else use for use in uses), parts, read)


def _tells(differ: tuple[str, ...]) -> bool:
    return all(differ) and len(set(differ)) == len(differ)


def _stem(splits: Sequence[_Split]) -> NameWords:
    """What most names begin with; otherwise, the word that all go on with after what tells uses apart."""
    before = Counter(each.before for each in splits if each.before).most_common(1)
    after = _begin([each.after for each in splits])
    return before[0][0] if before else after[:1] if len(splits) > 1 else after


def _good(word: str) -> bool:
    """Whether a word may name something: no number, no letter, no word of the language."""
    return len(word) > 2 and not word.isdigit() and word not in FUNCTIONS and word not in RESERVED


def _split(names: Sequence[str]) -> _Split:
    words = [_words(name) for name in names]
    before = _begin(words)
    rest = [each[len(before) :] for each in words]
    after = _begin([each[::-1] for each in rest])[::-1]
    differ = ["_".join(each[: len(each) - len(after)]) for each in rest]
    if differ.count("") == 1 and all(each.isdigit() for each in differ if each):
        differ[differ.index("")] = "1"  # `dense`, `dense_2`
    return _Split(before, tuple(differ), after)


def _begin(words: Sequence[NameWords]) -> NameWords:
    """What all begin with."""
    return tuple(same[0] for same in takewhile(lambda each: len(set(each)) == 1, zip(*words, strict=False)))


def _words(name: str) -> NameWords:
    """`tower_user.dense1` is tower, user, dense, 1."""
    return tuple(re.findall(r"\d+|[^\W\d_]+", name))


def _part(split: _Split | None, stem: NameWords) -> str:
    """What is left of a name without what all of the structure is called and what tells uses apart."""
    if split is None:
        return ""
    words = (*split.before, *split.after)
    left = words[len(stem) :] if words[: len(stem)] == stem else words
    while left and (left[-1] in FUNCTIONS or (left[-1].isdigit() and left[-2:-1] and left[-2] in FUNCTIONS)):
        left = left[:-1]  # `gate_dense` is a gate
    name = "_".join(left)
    name = _one_of(name) if split.differ[0].isdigit() and split.before == left else name
    return "" if name.replace("_", "").isdigit() or name in RESERVED else name


def _one_of(name: str) -> str:
    """`tower` of `towers`."""
    return name[:-1] if re.search(r"[^s]s$", name) else name
