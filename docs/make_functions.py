"""Writes `functions.md`, the reference of all that a spec can call, from the registries themselves.

Run it as `python docs/make_functions.py`; a test fails where the page is not what this makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from vflc_common.encoder import Encoder
from vflc_common.encoders import ENCODERS
from vflc_common.metrics import METRICS

from vflc.library import library_names
from vflc.ops import FUNCTIONS
from vflc.ops.convolution import PADDING
from vflc.ops.embedding import COMBINERS
from vflc.ops.layers import ACTIVATIONS, INITS
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.registry import REQUIRED, Function, FunctionParameter
from vflc.ops.schedules import SCHEDULES
from vflc.passes.lower.operators import ELEMENTWISE
from vflc.passes.lower.static import STATIC
from vflc.syntax import tree

PAGE = Path(__file__).parent / "functions.md"

SECTIONS = {
    "elementwise": "Value by value",
    "structure": "Axes, sums and products",
    "embedding": "Features and tables",
    "layers": "Layers",
    "sequence": "Sequences",
    "recurrent": "Recurrent layers",
    "convolution": "Convolutions and pooling",
    "losses": "Losses and penalties",
    "woe": "Weights of evidence",
}
"""Titles by the module of `vflc/ops` that a function is in; another module is its own title."""

KINDS = {
    "Node": "a value",
    "Nodes": "a value or a list of values",
    "WeightNodes": "weights or lists of them",
    "float": "a number",
    "int": "a whole number",
    "bool": "`true` or `false`",
    "str": "a word",
    "Ints": "a list of whole numbers",
    "AxisName": "a name",
}

LOSS_IS = (
    "the training objective, in units of the encoded label; always reported, and if it has several terms, "
    "so is each of them, under its label's name"
)
PREDICTED_ARE = {"binary": "binary", "multiclass": "classes", "number": "number"}
STATIC_DO = {
    "size": "`size(list)`, `size(x)`, `size(x, axis = NAME)`: how many items a list has, or positions an "
    "axis (the last one by default). A number that is known at compile time: `dense(x, size(x))`.",
    "where": "With a condition that is known at compile time, builds only the branch that it chooses: "
    "`where(layers > 1, …, …)`. With a condition on values, it is the function above.",
}


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield from ("# Functions, encoders, optimizers", "")
    yield "Made by `docs/make_functions.py` from what the compiler itself knows. [language.md](language.md)"
    yield "says how it fits together. Shapes are those of one row: `[16]`, `[field 4, 16]`. An argument with"
    yield from ("`=` may be left out; one that nothing is said about is a value or a number.", "")
    modules = dict.fromkeys([*SECTIONS, *(_module(f) for f in FUNCTIONS.values())])
    for module in modules:
        yield from _section(module, [f for f in FUNCTIONS.values() if _module(f) == module])
    yield from _operators()
    yield from _static()
    yield from _encoders()
    yield from _optimizers()
    yield from _metrics()
    for name in library_names():
        yield from _library(name, (files("vflc.library") / f"{name}.vfl").read_text("utf-8"))


def _module(function: Function) -> str:
    return function.expand.__module__.split(".")[2]


def _section(module: str, functions: list[Function]) -> Iterator[str]:
    title = SECTIONS.get(module, module.replace("_", " ").capitalize())
    yield from (f"## {title}", "", "| function | arguments | |", "| --- | --- | --- |")
    for function in functions:
        parts = [_parameter(p) for p in function.parameters]
        kinds = "; ".join(f"`{p.name}`: {_kind(p)}" for p in function.parameters if p.kind != "Node")
        yield f"| `{function.name}({', '.join(parts)})` | {kinds} | {_cell(function.doc)} |"
    if module == "layers":
        yield from ("", f"Activations: {_names(ACTIVATIONS)}. Initial values: {_names(INITS)}.")
    if module == "convolution":
        yield from ("", f"Padding: {_names(PADDING)}; pooling has no `causal`.")
    if module == "embedding":
        yield from ("", f"Combiners: {_names(COMBINERS)}. Initial values: {_names(INITS)}.")
    yield ""


def _parameter(parameter: FunctionParameter) -> str:
    if parameter.variadic:
        return f"{parameter.name}, …"
    if parameter.default is REQUIRED:
        return parameter.name
    return f"{parameter.name} = {_shown(parameter.default)}"


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    return str(default).lower() if isinstance(default, bool) else f"{default}"


def _kind(parameter: FunctionParameter) -> str:
    kinds = [kind.strip() for kind in parameter.kind.split("|")]
    if parameter.variadic and parameter.kind == "int":
        return "whole numbers"
    return " or ".join("`none`" if kind == "None" else KINDS[kind] for kind in kinds)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _operators() -> Iterator[str]:
    yield from ("## Operators", "")
    yield "On values of the graph, each operator is a function; `-x` is `neg`, and `not x` is `logical_not`."
    yield from ("", "| operator | function |", "| --- | --- |")
    for symbol, name in ELEMENTWISE.items():
        yield f"| `{symbol}` | `{name}` |"
    yield ""


def _static() -> Iterator[str]:
    yield from ("## Evaluated at compile time", "", "| | |", "| --- | --- |")
    for name in STATIC:
        yield f"| `{name}` | {STATIC_DO[name]} |"
    yield ""


def _encoders() -> Iterator[str]:
    yield from ("## Encoders", "", "What each does with values that are unknown or missing is in")
    yield from ("[columns.md](columns.md#encoders).", "")
    yield from ("| encoder | reads | gives | |", "| --- | --- | --- | --- |")
    for encoder in ENCODERS:
        parameters = [
            p.name if p.needed else f"{p.name} = {_unsaid(encoder, p.name)}" for p in encoder.parameters
        ]
        if any(p.many for p in encoder.parameters):
            parameters[0] += ", …"
        given = list(dict.fromkeys(map(encoder.after, encoder.reads)))
        gives = "the same" if given == list(encoder.reads) else ", ".join(given)
        call = f"{encoder.name}({', '.join(parameters)})" if parameters else encoder.name
        yield f"| `{call}` | {', '.join(encoder.reads)} | {gives} | {_cell(encoder.doc)} |"
    yield ""


def _unsaid(encoder: Encoder, parameter: str) -> str:
    """What a parameter is that is not given."""
    return "fitted" if encoder.fit is not None and parameter in encoder.fit.neutral else "none"


def _optimizers() -> Iterator[str]:
    yield from ("## Optimizers", "", "| optimizer | |", "| --- | --- |")
    for optimizer in OPTIMIZERS:
        yield f"| `{optimizer.name}({_options(optimizer.parameters)})` | {_cell(optimizer.doc)} |"
    yield from (
        "",
        "The formulas are those of Keras 3. A step updates only the rows of a table that its batch reads, "
        "after these have caught up on the steps that they missed, so that they are where the dense "
        "optimizer would have brought them. With `lazy = true`, they do not catch up: rows that are "
        "not read stay as they are, as in LazyAdam and SparseAdam.",
        "",
    )
    yield from ("## Schedules of a learning rate", "", "| schedule | |", "| --- | --- |")
    for schedule in SCHEDULES:
        yield f"| `{schedule.name}({_options(schedule.parameters)})` | {_cell(schedule.doc)} |"
    yield ""


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(n if d is None else f"{n} = {_shown(d)}" for n, d in options.items())


def _metrics() -> Iterator[str]:
    yield from ("## Metrics", "", "| metric | of predictions that are | |", "| --- | --- | --- |")
    for metric in METRICS:
        kinds = ", ".join(what for kind, what in PREDICTED_ARE.items() if kind in metric.measures)
        yield f"| `{metric.usage('UserID')}` | {kinds} | {metric.doc} |"
    yield f"| `loss` | all | {LOSS_IS} |"
    yield ""


def _library(name: str, text: str) -> Iterator[str]:
    """The blocks of a library: how each is called, and its own first sentence."""
    from vflc.diagnostics import DiagnosticCollector, SourceText
    from vflc.syntax.parser import parse

    spec = parse(SourceText(f"library/{name}.vfl", text), DiagnosticCollector())
    blocks = [item for item in spec.items if isinstance(item, tree.Block)]
    example = "DeepFM, FM" if name == "recsys" else blocks[0].name.text
    yield from (f"## Blocks of the library `{name}`", "")
    yield from (
        f"They come into a spec by name, with `use {name}.{{{example}}}`.",
        "",
        "| block | |",
        "| --- | --- |",
    )
    for block in blocks:
        parameters = ", ".join(" ".join(p.span.text.split()) for p in block.parameters)
        yield f"| `{block.name.text}({parameters})` | {_cell(block.doc or '')} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
