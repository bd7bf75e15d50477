"""The words of a bundle: the compiler writes no others, and the runtime reads no others."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, get_args

FORMAT = 1
"""Of manifest.json, plan.json and keras.json."""

Program = Literal["train", "evaluate", "predict", "fit"]
EVERY_PROGRAM: tuple[Program, ...] = get_args(Program)
"""What a place can run; frames number them in this order."""
FIT: Program = "fit"
"""What a model with fitted tables runs besides: once over the training rows, before the first step."""
PROGRAMS: tuple[Program, ...] = tuple(each for each in EVERY_PROGRAM if each != FIT)
"""What every model runs."""
PROGRAM_WORDS: dict[Program, str] = {"train": "training", "evaluate": "evaluation", "predict": "prediction"}
"""Programs by the words of the language, to which `fit` is part of training."""

Phase = Literal["forward", "backward"]
PHASES: tuple[Phase, ...] = get_args(Phase)

Precision = Literal["float32", "float64"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

FactorType = Literal["float32", "bfloat16"]
FACTORS: tuple[FactorType, ...] = get_args(FactorType)
"""What factors of matrix products may be rounded to in training; sums, and all else, have the precision."""
BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "bool": 1, "uint8": 1}
"""Element types that cross between places, with the bytes of one; frames number them in this order."""

Backend = Literal["onnx", "keras"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
"""What a bundle can be compiled for; each has the engine of its name."""
DEFAULT_BACKEND: Backend = "onnx"
DEFAULT_ENGINE = DEFAULT_BACKEND
"""What a bundle is compiled for, and what runs it, where nobody chooses."""
DEVICES = ("cpu", "cuda")
"""Where an engine runs; the first where nobody says."""
KERAS_FOLDER = "keras"
"""The folder of the Keras backend below that of a place."""
WHOLE = "whole"
"""The model of all parties as the spec writes it, which the first place has among its files."""
ONNX_TABLES = "vflc.tables"
"""What a merged ONNX model says of the parties' columns, in its metadata."""
ENCODERS_FILE = "encoders.json"
FIRST_FILE = "first.safetensors"
"""The first values of weights that files of other tools give."""

KINDS = ("place", "users", "hub")
"""What a plan is of: a place of a model over parties; the users of a population, and their hub."""

STEPS = {
    "run": "graph", "send": "message", "receive": "message", "catch_up": "update", "update": "update",
    "assign": "array", "protect": "guard",
}  # fmt: skip
"""What a place does in a program, with what it does it to."""
StepKind = Literal["run", "send", "receive", "catch_up", "update", "assign", "protect"]

LISTS = {"list(int)": "ints", "list(string)": "strings"}
"""Types of columns with many values a row, and what encoders are given of them."""
DECIMAL_COMMA = 'float(",")'
"""The type of a number that text has with a decimal comma."""
COLUMN_TYPES = ("string", "int", "float", DECIMAL_COMMA, "bool", "date", "timestamp", *LISTS)
"""Declared types of raw columns; and `vector(8)`, so many numbers a row."""
DATES = ("date", "timestamp")
"""Types of moments: inside, whole microseconds since 1970 began in UTC; those of a date are whole days."""
WIDEST = 65_536
"""Numbers that a vector may have."""
COLUMN_KINDS = ("feature", "label", "weight", "group", "column")
"""What a column is for: by a group, metrics tell rows apart; one of the last kind is only computed with."""
GROUPING = ("string", "int")
"""Types of columns by which metrics group rows."""
ColumnShape = Literal["id", "ids", "number", "vector"]
SHAPES: tuple[ColumnShape, ...] = get_args(ColumnShape)
"""What a column's encoders give for a row."""
HeldOutBy = Literal["where", "groups", "strata"]
HELD_OUT_BY: tuple[HeldOutBy, ...] = get_args(HeldOutBy)
"""How a column decides which rows are kept for validation: those where it is true, whole groups of rows in
which it is the same, or as large a share of the rows of each of its values."""
Predicted = Literal["binary", "multiclass", "number"]
PREDICTED: tuple[Predicted, ...] = get_args(Predicted)
"""What a prediction is: the probability of a class, of each class, or a number."""

INITIALS = ("zeros", "ones", "constant", "uniform", "normal", "glorot_uniform")
"""How a weight starts that is drawn, or filled."""
OF_LAYERS = ("orthogonal", "unit_forget")
"""How the weights of recurrent layers start: a matrix of rows at right angles, the bias of four gates."""
FROM_FILE = "file"
"""How one starts whose first value is in `FIRST_FILE`."""
SCOPES = ("global", "local")
"""Where a weight of a population lives: at its hub, or at every user."""

DrawKind = Literal["normal", "memory", "shift"]
DRAWS: tuple[DrawKind, ...] = get_args(DrawKind)
"""What a run feeds a protection with."""
Privacy = Literal["proven", "partial", "none"]
PRIVACY: tuple[Privacy, ...] = get_args(Privacy)
"""What a mechanism is worth: `proven`, a theorem bounds what it lets through; `partial`, noise or masks that
change what is received, without such a bound; `none`, compression."""
Accounting = Literal["messages", "draw"]
ACCOUNTING: tuple[Accounting, ...] = get_args(Accounting)
"""How a run counts the ε of what is `proven`: `messages`, Gaussian noise, for which each message of a row
counts, and which the run calibrates; `draw`, once, when a row's answer is drawn."""
RANGE, MASKED = "range", "masked"
"""How an edge is packed without a codec: the range by which another one is, or a term of a masked sum."""

Halves = Literal["examples", "batches", "fraction", "same"]
HALVES: tuple[Halves, ...] = get_args(Halves)
"""How a user's examples are divided between `rebuild` and `client`."""
Weighting = Literal["examples", "uniform"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)
"""What a user's change counts in the mean."""
Division = Literal["random", "keys"]
DIVISIONS: tuple[Division, ...] = get_args(Division)
"""How users are divided into those to train on and the others."""


@lru_cache(64)  # a spec of many columns has few types
def vector_width(type: str | None) -> int | None:
    """How many numbers a row of a column has that is declared `vector(8)`; None of every other type."""
    found = re.fullmatch(r"vector\(([1-9][0-9]{0,8})\)", type or "")
    width = int(found[1]) if found else 0
    return width if 0 < width <= WIDEST else None


def kind_of(type: str) -> str:
    """What encoders and expressions are given of a column of a declared type: truth is 1 or 0."""
    return {"bool": "int", DECIMAL_COMMA: "float", **LISTS}.get(type, type)


def is_column_type(text: str) -> bool:
    """Whether a column can be declared so."""
    return text in COLUMN_TYPES or vector_width(text) is not None
