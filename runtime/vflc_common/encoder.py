"""What an encoder is: one link of the chain that turns a column into ids or numbers.

All that an encoder is known by stands in its record: what a spec may write, what a bundle may hold, how many
codes it has, how it encodes rows, how exported models do it, and what made-up tables suit it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from vflc_common.words import vector_width

if TYPE_CHECKING:
    from vflc_common.backends import ColumnStatistic, GraphBuilder, KerasBuilder, OnnxBuilder
    from vflc_common.values import Values

Kind = Literal["string", "int", "float", "date", "timestamp", "strings", "ints", "id", "ids", "pair"]
"""What a link reads or gives: `strings`, `ints` and `ids` are many a row, a `pair` is two numbers."""
TEXTS = ("string", "strings")
MANY = ("strings", "ints")
"""Kinds of many values a row, of which an encoder makes many ids."""
IDS = ("id", "ids")
NUMBERS = ("int", "float")


def shape_of(kind: str) -> str:
    """What a column is in the graph, by what its chain gives: ids are what they are, texts are nothing."""
    if kind in NUMBERS:
        return "number"
    return "vector" if kind == "pair" or vector_width(kind) is not None else kind


def width_of(type: str | None) -> int:
    """How many numbers a row has of a column of shape `vector`: as declared, or those of a `pair`."""
    return vector_width(type) or 2


EncoderSettings = Mapping[str, Any]
"""An encoder of a chain, as encoders.json has it: its `name`, and each parameter or None."""

MOST_IDS = 2**31 - 1
LARGEST = 2**63
"""Whole numbers of tables lie below it."""


class ArgumentType(Struct, frozen=True):
    """What a parameter takes.

    Args:
        wanted: in words, `a number`.
        fits: whether a value is that.
    """

    wanted: str
    fits: Callable[[Any], bool]


def is_whole(value: Any, low: int = -LARGEST, high: int = LARGEST - 1) -> bool:
    """Whether a value is a whole number between these two."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(value: Any) -> bool:
    """Whether a value is a number that a double holds; not-a-number is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def is_value(value: Any) -> bool:
    """Whether a table may have the value: a text, a truth value, or a number of 64 bits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return is_whole(value)
    return isinstance(value, str | bool) or is_number(value)


def whole(low: int, high: int) -> ArgumentType:
    return ArgumentType(f"a whole number from {low} to {high:,}", lambda value: is_whole(value, low, high))


NUMBER = ArgumentType("a number", is_number)
TEXT = ArgumentType("text", lambda value: isinstance(value, str) and value != "")
VALUE = ArgumentType("a number or text", is_value)


class EncoderParameter(Struct, frozen=True):
    """A parameter of an encoder.

    Args:
        name: in a spec.
        takes: what.
        needed: whether it has to be given.
        many: whether it is a list, which takes all arguments without a name.
    """

    name: str
    takes: ArgumentType
    needed: bool = False
    many: bool = False

    def wrong(self, encoder: str, value: Any) -> str | None:
        """What is wrong with a value, or None."""
        wanted = self.takes.wanted
        if self.many and (self.needed or value is not None):
            right = isinstance(value, list) and bool(value) and all(map(self.takes.fits, value))
            return None if right else f"`{self.name}` of `{encoder}` must be a list, each item {wanted}"
        right = not self.needed if value is None else self.takes.fits(value)
        return None if right else f"`{self.name}` of `{encoder}` must be {wanted}"


DEFAULT = "default"
OTHER = "other"
"""As a default: unknown and missing values have an id of their own, 0."""
_TAKES_DEFAULT = ArgumentType(
    f"one of the values, or `{OTHER}`",
    lambda value: value == OTHER or (isinstance(value, dict) and {*value} == {"value"}),
)


FILE, SHA256, SIZE = "file", "sha256", "size"
"""Parameters of an encoder whose values a file may list: the name in the bundle, the hash, how many."""
_TAKES_HASH = ArgumentType(
    "64 hexadecimal digits",
    lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)),
)
of_file = (
    EncoderParameter(FILE, TEXT),
    EncoderParameter(SHA256, _TAKES_HASH),
    EncoderParameter(SIZE, whole(1, MOST_IDS - 1)),
)
"""These parameters."""


class Lookup(Struct, frozen=True):
    """That an encoder knows some values, gives each an id, and has a default for all others.

    Args:
        values: those that it knows, in the order of their ids.
        called: what a message calls it, `vocab of 3 values`.
        help: what a spec might say where a value is unknown.
        plain: whether the ids are the values.
        room: how many it may come to know, where the spec does not list them; None where it does.
    """

    values: Callable[[EncoderSettings], Sequence[Any]]
    called: Callable[[EncoderSettings], str]
    help: Callable[[EncoderSettings], str]
    plain: bool = False
    room: Callable[[EncoderSettings], int | None] = lambda settings: None

    def wrong(self, settings: EncoderSettings) -> str | None:
        """What is wrong with the default."""
        default, values = settings.get(DEFAULT), self.values(settings)
        if default is None or default == OTHER:
            return None
        slow = isinstance(values, range) and not is_whole(default["value"])  # it would look at each number
        if not slow and default["value"] in values:
            return None
        return (
            f"the default must be one of the values, or `{OTHER}` for an id of its own; "
            f"{default['value']!r} is neither"
        )


class Fit(Struct, frozen=True):
    """That parameters are fitted to the training rows where the spec does not give them.

    Args:
        start: makes a statistic, to which the numbers of the rows are added block by block.
        result: from it, and the settings of the encoder, to all the parameters: numbers, or lists of them.
        settled: the encoder that computes, once the parameters are known: itself, or another.
        neutral: parameters with which numbers stay as they are.
        needed: whether parameters that are not given are to be fitted, and come from nowhere else.
        of: what is added to the statistic. `numbers`: as doubles; `values`: texts and numbers as they are.
    """

    start: Callable[[], ColumnStatistic]
    result: Callable[[Any, EncoderSettings], Mapping[str, Any]]
    settled: Callable[[EncoderSettings], EncoderSettings]
    neutral: Mapping[str, Any]
    needed: Callable[[EncoderSettings], bool] = lambda settings: True
    of: Literal["numbers", "values"] = "numbers"


class Python(Struct, frozen=True):
    """How one value is encoded in plain Python, which `vflc export` writes into encode.py.

    Args:
        function: from a value and the settings to what it becomes. It may use the modules `math`, `re` and
            `unicodedata`, constants beside it, and functions that do no more.
        takes: what it is given. `value`: each value that is there; what is missing stays so. `missing`: None,
            too. `lookup`: a value, and it gives a position or None. `row`: all ids of a row, as a list.
    """

    function: Callable[[Any, EncoderSettings], Any]
    takes: Literal["value", "missing", "lookup", "row"] = "value"


class Suits(Struct, frozen=True):
    """What raw values of a made-up table have to be like for an encoder to have something to do.

    Args:
        listed: each of these is to occur.
        anchors: numbers lie around these.
        distinct: so many different values tell all.
        separator: a text is several, with this between them.
    """

    listed: Sequence[Any] = ()
    anchors: Sequence[float] = ()
    distinct: int | None = None
    separator: str | None = None


def _nothing(settings: EncoderSettings, kind: str) -> str | None:
    return None


class Encoder(Struct, frozen=True, kw_only=True):
    """One link of a chain.

    Args:
        name: in a spec.
        doc: what it does, for whoever writes a spec.
        step: what it does to one value, exactly, for whoever reads an exported model.
        reads: what it may follow.
        gives: what follows from that; None for what it reads. `id` of several texts are `ids`.
        parameters: in their order.
        words: names that may stand first in a spec, each with the parameter and the value that it gives.
        wrong: what is wrong with parameters that are each right by themselves.
        python: one value in plain Python.
        encode: all values of a block; None does one after the other by `python`.
        dear: whether it pays to encode a whole number that occurs twice only once. Of texts it always does.
        codes: how many ids there are, of one that makes ids and is no lookup.
        different: how many different numbers it gives at most, of one that gives numbers.
        classes: what stands for each id in predictions, of one that makes ids and is no lookup.
        lookup: where it is one; its parameters then end with `lookup_default`.
        length: how many ids a row has at most.
        fit: where parameters are fitted.
        fills: what stands for missing values after it.
        undo: from an encoded number back to the number before it, in ops of the graph.
        keeps_units: whether a number stands for itself, so that nothing has to be undone.
        may_empty: of one that makes text of text, whether the empty text can come of another.
        suits: what it needs of made-up tables.
        not_exported: why no model can do it with these settings, of a raw column of that type.
        onnx, keras: nodes and layers that do it, as `vflc_common.backends` says; None where there are none,
            and encode.py does it.
        misfit: what to do where it does not fit its column.
        known_as: what other libraries call it, as words with what to answer.
    """

    name: str
    doc: str
    step: str
    reads: tuple[Kind, ...]
    python: Python
    gives: Kind | None = None
    parameters: tuple[EncoderParameter, ...] = ()
    words: Mapping[str, tuple[str, Any]] = {}
    wrong: Callable[[EncoderSettings, str], str | None] = _nothing
    encode: Callable[[Values, EncoderSettings], Values] | None = None
    dear: bool = False
    codes: Callable[[EncoderSettings], int] | None = None
    different: int | None = None
    classes: Callable[[EncoderSettings], Sequence[str | int | float]] | None = None
    lookup: Lookup | None = None
    length: Callable[[EncoderSettings], int] | None = None
    fit: Fit | None = None
    fills: Callable[[EncoderSettings], Any] | None = None
    undo: Callable[[GraphBuilder, Any, Mapping[str, Any]], Any] | None = None
    keeps_units: bool = False
    may_empty: bool = True
    suits: Callable[[EncoderSettings], Suits] | None = None
    not_exported: Callable[[EncoderSettings, str], str | None] = _nothing
    onnx: Callable[[OnnxBuilder, str, EncoderSettings], str] | None = None
    keras: Callable[[KerasBuilder, Any, EncoderSettings], Any] | None = None
    misfit: str | None = None
    known_as: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        if self.gives == "id" and (self.codes is None) == (self.lookup is None):
            raise ValueError("what makes ids says how many by `codes`, or is a `lookup`")
        if self.encode is None and (self.gives == "strings" or self.python.takes == "row"):
            raise ValueError("what changes how many values a row has needs `encode`")

    @property
    def changes_units(self) -> bool:
        """Whether a number has another unit after it."""
        gives = {self.gives} if self.gives is not None else {*self.reads}
        return not self.keeps_units and bool(gives & {*NUMBERS})

    def takes(self, kind: str) -> bool:
        """Whether it may follow a kind; what makes a number of a number does so with each of a vector."""
        each = vector_width(kind) is not None and self.after("float") == "float"
        return kind in self.reads or (each and "float" in self.reads)

    def after(self, kind: str) -> str:
        """What it gives of what it reads."""
        if vector_width(kind) is not None:
            return kind
        return "ids" if self.gives == "id" and kind in MANY else self.gives or kind

    def mistake(self, settings: EncoderSettings, kind: str) -> str | None:
        """What is wrong with the parameters, all of which are there; None where nothing is."""
        for parameter in self.parameters:
            wrong = parameter.wrong(self.name, settings[parameter.name])
            if wrong is not None:
                return wrong
        return self.wrong(settings, kind) or (self.lookup.wrong(settings) if self.lookup else None)

    def count(self, settings: EncoderSettings) -> int | None:
        """How many ids there are; None of one that makes none."""
        if self.lookup is not None:
            room = self.lookup.room(settings)
            known = len(self.lookup.values(settings)) if room is None else room
            return known + (settings.get(DEFAULT) == OTHER)
        return self.codes(settings) if self.codes is not None else None

    def unfitted(self, settings: EncoderSettings) -> tuple[str, ...]:
        """The parameters that a run has to fit."""
        if self.fit is None or not self.fit.needed(settings):
            return ()
        return tuple(p for p in self.fit.neutral if settings.get(p) is None)

    def allows_missing(self, settings: EncoderSettings) -> bool:
        """Whether a missing value becomes something."""
        defaults = self.lookup is not None and settings.get(DEFAULT) is not None
        return self.fills is not None or defaults


def examined(encoder: Encoder, settings: EncoderSettings, kind: str) -> tuple[str | None, int | None]:
    """What is wrong with settings where the encoder follows a `kind`, and how many ids there are.

    Raises:
        ValueError: an encoder of another package gives what is no such number.
    """
    wrong = encoder.mistake(settings, "float" if vector_width(kind) is not None else kind)
    if wrong is not None:
        return wrong, None
    count, widest = encoder.count(settings), encoder.length and encoder.length(settings)
    for number in (count, widest):
        if number is not None and not is_whole(number, 1, MOST_IDS):
            raise ValueError(f"{number!r} is no number of ids")
    named = encoder.classes(settings) if encoder.classes is not None else ()
    if not isinstance(named, list | tuple) or not all(isinstance(each, str | int | float) for each in named):
        raise ValueError(f"{named!r:.60} are no names of ids")
    return None, count


lookup_default = EncoderParameter(DEFAULT, _TAKES_DEFAULT)
"""The last parameter of every lookup."""
