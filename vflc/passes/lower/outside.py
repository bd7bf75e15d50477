"""`block NAME = onnx("file.onnx", …)`: the file, checked, and its use as a block."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec import Struct
from vflc_common.onnx_usable import MOST_BYTES, MOST_VALUES, usable
from vflc_common.onnx_wire import OnnxFileError

from vflc.diagnostics import DiagnosticCollector, RelatedSpan, Span
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ir.outside import OP, OutsideModel, Sizes
from vflc.ops.outside import check_sizes
from vflc.ops.registry import REQUIRED, Function, FunctionParameter
from vflc.passes.lower.arguments import coerce
from vflc.passes.lower.blocks import use_block
from vflc.passes.lower.expanded import expanded, take_values
from vflc.passes.lower.values import (
    ABSENT,
    NO_FOLDER,
    POISON,
    BlockValue,
    FileWeights,
    LazyValue,
    OutsideValue,
    Poison,
    Scope,
)
from vflc.passes.place import trainable_below
from vflc.syntax import tree

if TYPE_CHECKING:
    from vflc.passes.lower.evaluate import Evaluator

CODES = {"file": "VFL0716", "shapes": "VFL0717", "parts": "VFL0718"}
"""The code of what is wrong with a file."""
USAGE = 'write block NAME = onnx("FILE.onnx")'
OPTIONS = ("trainable", "sha256", "inputs", "outputs")
BESIDE = "use an .onnx file in the folder of the spec or below it"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class _WrongDeclaration(Exception):
    """A mistake that was reported."""


class _Given(Struct, frozen=True):
    """What a declaration says."""

    file: tree.String
    spans: Mapping[str, Span]
    trainable: bool = False
    sha256: str | None = None
    inputs: tuple[Sizes, ...] | None = None
    outputs: tuple[Sizes, ...] | None = None


def open_outside(item: tree.Outside, path: Path | str, collector: DiagnosticCollector) -> OutsideValue | None:
    """The block of a declaration; None after a mistake.

    Args:
        item: the declaration.
        path: of the file, or why it may not be read.
        collector: of mistakes.
    """
    try:
        return _opened(item, _given(item, collector), path, collector)
    except _WrongDeclaration:
        return None


# --- the declaration --------------------------------------------------------------------------------


def _given(item: tree.Outside, collector: DiagnosticCollector) -> _Given:
    call, found = item.value, dict[str, Any]()
    tool = call.function
    assert isinstance(tool, tree.Ref)
    if tool.name != "onnx":
        _refuse(collector, "VFL0106", f"a block cannot be made with `{tool.name}`", tool.span, USAGE)
    files = [argument for argument in call.arguments if argument.name is None]
    if len(files) != 1 or not isinstance(files[0].value, tree.String):
        span = files[-1].span if files else call.span
        _refuse(collector, "VFL0107", "`onnx` takes the name of one file", span, USAGE)
    for argument in call.arguments:
        if argument.name is None:
            continue
        name = argument.name.text
        if name not in OPTIONS:
            near = did_you_mean(name, OPTIONS)
            help = f"did you mean `{near}`?" if near else f"it has {', '.join(OPTIONS)}"
            _refuse(collector, "VFL0107", f"`onnx` has no argument `{name}`", argument.name.span, help)
        found[name] = _READ[name](argument.value, collector)
    lacking = [name for name in OPTIONS[1:] if name not in found]
    declared = [name for name in ("inputs", "outputs") if name in found]
    if declared and lacking:
        help = "give all three, and the file may be left out where another party runs it; or none of them"
        text = f"`onnx` with `{declared[0]}` needs `{lacking[0]}`"
        _refuse(collector, "VFL0107", text, call.span, help)
    file = files[0].value
    assert isinstance(file, tree.String)
    return _Given(file, {a.name.text: a.value.span for a in call.arguments if a.name}, **found)


def _flag(expr: tree.Expr, collector: DiagnosticCollector) -> bool:
    if not isinstance(expr, tree.Bool):
        _refuse(collector, "VFL0203", "`trainable` must be true or false", expr.span)
    return expr.value


def _hash(expr: tree.Expr, collector: DiagnosticCollector) -> str:
    if not isinstance(expr, tree.String) or not _SHA256.match(expr.value):
        help = "sha256sum FILE prints it"
        _refuse(collector, "VFL0203", "`sha256` must be 64 hexadecimal digits in a text", expr.span, help)
    return expr.value


def _shapes(expr: tree.Expr, collector: DiagnosticCollector) -> tuple[Sizes, ...]:
    """Lists of sizes: `[[128]]` is one input of 128 numbers a row."""
    shapes = []
    for item in expr.items if isinstance(expr, tree.ListOf) else ():
        sizes = (
            [size.value for size in item.items if isinstance(size, tree.Number)]
            if isinstance(item, tree.ListOf)
            else [0]
        )
        if isinstance(item, tree.ListOf) and len(sizes) < len(item.items):
            sizes.append(0)
        shapes.append(tuple(sizes))
    if not shapes or any(not isinstance(s, int) or not 0 < s <= MOST_VALUES for each in shapes for s in each):
        help = "give the sizes that a row has in each, without the batch: [[3, 32, 32]]"
        _refuse(collector, "VFL0203", "this must be a list of lists of sizes", expr.span, help)
    return tuple(tuple(int(size) for size in each) for each in shapes)


_READ = {"trainable": _flag, "sha256": _hash, "inputs": _shapes, "outputs": _shapes}


def _refuse(
    collector: DiagnosticCollector,
    code: str,
    text: str,
    span: Span,
    help: str | None = None,
    *labels: RelatedSpan,
) -> NoReturn:
    collector.error(code, text, span, help, *labels)
    raise _WrongDeclaration


# --- the file ---------------------------------------------------------------------------------------


def _opened(
    item: tree.Outside, given: _Given, path: Path | str, collector: DiagnosticCollector
) -> OutsideValue:
    span = given.file.span
    if isinstance(path, str):
        if given.inputs is None or not path.startswith((ABSENT, NO_FOLDER)):
            _refuse(collector, "VFL0108", path, span, BESIDE)
        assert given.sha256 and given.outputs
        model = OutsideModel(given.file.value, given.sha256, given.inputs, given.outputs, None, span)
        why = "`inputs` and `outputs` say so"
    else:
        model, made = _read(item, given, path, collector)
        if isinstance(made, tuple):
            return OutsideValue(item.name.text, item.name.span, model, *made)
        why = made
    if given.trainable:
        text = f"this file runs as it is, so it cannot be trained: {why}"
        help = "remove `trainable`: what is learned comes after it"
        _refuse(collector, "VFL0508", text, given.spans["trainable"], help)
    if given.inputs is None:
        text = f"{given.file.value} runs as it is, and is not trained: {why}"
        collector.note("VFL0765", text, span, "what is learned comes after it; docs/models.md says more")
    return OutsideValue(item.name.text, item.name.span, model)


def _content(given: _Given, path: Path, collector: DiagnosticCollector) -> bytes:
    span, name = given.file.span, given.file.value
    try:
        if path.stat().st_size > MOST_BYTES:
            _refuse(collector, "VFL0716", f"{name} is larger than {MOST_BYTES >> 20} MiB", span)
        return path.read_bytes()
    except OSError as error:
        _refuse(collector, "VFL0108", f"{name} cannot be read: {error.strerror}", span)


def _read(
    item: tree.Outside, given: _Given, path: Path, collector: DiagnosticCollector
) -> tuple[OutsideModel, tuple[BlockValue, FileWeights] | str]:
    """The file as it runs, and the block that it is, or why it runs as it is."""
    span, name = given.file.span, given.file.value
    content = _content(given, path, collector)
    sha256 = hashlib.sha256(content).hexdigest()
    if given.sha256 not in (None, sha256):
        text = f"{name} is not the file that is meant: its SHA-256 is {sha256}"
        _refuse(
            collector, "VFL0719", text, given.spans["sha256"], "get the file that the spec was written for"
        )
    try:
        file, signature = usable(content)
    except OnnxFileError as wrong:
        text = f"{name} cannot be used: {wrong.message}"
        _refuse(collector, CODES[wrong.kind], text, span, wrong.help)
    found = {
        "inputs": tuple(port.sizes for port in signature.inputs),
        "outputs": tuple(port.sizes for port in signature.outputs),
    }
    for word, shapes in found.items():
        declared = getattr(given, word)
        if declared not in (None, shapes):
            text = f"{name} has {word} of other sizes: {[list(sizes) for sizes in shapes]}"
            _refuse(collector, "VFL0717", text, given.spans[word], "correct them")
    model = OutsideModel(name, sha256, found["inputs"], found["outputs"], content, span)
    if given.inputs is not None:
        return model, "`inputs` and `outputs` say so"
    return model, expanded(item.name.text, file, signature, name, sha256, given.trainable)


# --- its use ----------------------------------------------------------------------------------------


def call_outside(ev: Evaluator, value: OutsideValue, expr: tree.Call, scope: Scope, direct: bool) -> Any:
    """The output of the file for some inputs, or the list of its outputs."""
    inputs = _inputs(ev, value, expr, scope)
    if inputs is None:
        return POISON
    if value.block is not None:
        return _use(ev, value, value.block, inputs, expr, direct)
    owners = sorted(set[str]().union(*(node.owners for node in inputs)))
    if len(owners) > 1 and ev.build.place is None:
        text = f"`{value.name}` runs at one party, but reads values of {' and '.join(owners)}"
        help = f"give it the values of one, or say where it runs: … at {owners[0]}"
        return ev.error("VFL0509", text, expr.span, help)
    learning = trainable_below(ev.build.graph)
    for node in inputs:
        if node.id in learning:
            text = f"`{value.name}` runs as it is, so no gradient passes to what is trained before it"
            help = "give it columns as they are, or stop the gradient on purpose: stop_gradient(…)"
            labels = (RelatedSpan(node.span, "this is trained"),) if node.span else ()
            return ev.error("VFL0508", text, expr.span, help, *labels)
    label = None if direct else ev.build.fresh(value.name).split(".")[-1]
    path = ev.build.scope if label is None else (*ev.build.scope, label)
    with ev.build.within(scope=path, span=ev.at(expr.span)):
        return ev.made(expr.span, lambda: _made(ev.build, inputs, value.model))


def _use(
    ev: Evaluator, value: OutsideValue, block: BlockValue, inputs: list[Node], expr: tree.Call, direct: bool
) -> Any:
    """The same of a file that is an ordinary block; its weights begin with the file's numbers."""
    types = [node.type for node in inputs]
    if isinstance(ev.made(expr.span, lambda: check_sizes(types, value.model.inputs)), Poison):
        return POISON
    first, used = len(ev.build.graph), list[tuple[str, ...]]()

    def bind(inner: Scope) -> bool:
        used.append(inner.path)
        for parameter, node in zip(block.block.parameters, inputs, strict=True):
            name = parameter.name
            inner.names[name.text] = LazyValue.known(name.text, name.span, node)
        return True

    result = use_block(ev, block, expr, direct, bind)
    if used and value.weights is not None:
        take_values(ev, value.weights, used[0], first)
    return result


def _made(b: Build, inputs: list[Node], model: OutsideModel) -> Node | list[Node]:
    made = [b.op(OP, *inputs, model=model, output=index) for index in range(len(model.outputs))]
    return made[0] if len(made) == 1 else made


def _inputs(ev: Evaluator, value: OutsideValue, expr: tree.Call, scope: Scope) -> list[Node] | None:
    due = len(value.model.inputs)
    named = next((argument for argument in expr.arguments if argument.name), None)
    if named is not None or len(expr.arguments) != due:
        span = named.span if named else expr.span
        what = "its input" if due == 1 else f"its {due} inputs, in the order of the file"
        label = RelatedSpan(value.span, "declared here")
        ev.error("VFL0107", f"`{value.name}` takes {what}", span, None, label)
        return None
    function, parameter = Function(value.name, _unused), FunctionParameter("input", "Node", REQUIRED)
    found = [coerce(ev, function, parameter, argument.value, scope) for argument in expr.arguments]
    return None if any(isinstance(node, Poison) for node in found) else found


def _unused(*_: Any) -> NoReturn:
    raise AssertionError("a block of a file is no function")
