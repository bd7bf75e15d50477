"""`--set NAME=VALUE`: a spec's text with other values of bindings and of settings of `train`.

The text itself is changed, so that a bundle has the spec that it was compiled from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from vflc.diagnostics import DiagnosticCollector, SourceText, Span
from vflc.diagnostics.suggest import did_you_mean
from vflc.passes.lower import population, settings
from vflc.syntax import tree
from vflc.syntax.parser import parse

SETTINGS = (*settings.SETTINGS, *settings.LISTS, *population.SETTINGS, *population.OTHERS)


class Edit(Struct, frozen=True):
    """Characters `start` to `end` of the text that others take the place of."""

    start: int
    end: int
    text: str


def overridden(source: SourceText, values: Mapping[str, str]) -> SourceText:
    """The text with the values of top-level bindings and settings of `train` that are given by name.

    A name that is both is the binding. A setting that the spec does not have is added. Where the text does
    not parse, it stays as it is: whoever compiles it reports why.

    Raises:
        Refused: VFL0101 a name is neither; a value is none (VFL0001 and others of the parser).
    """
    collector = DiagnosticCollector()
    spec = parse(source, DiagnosticCollector())
    bindings = {item.name.text: item for item in spec.items if isinstance(item, tree.Binding)}
    train = next((item for item in spec.items if isinstance(item, tree.Train)), None)
    present = {setting.name.text for setting in train.settings} if train else set[str]()
    edits: list[Edit] = []
    for name, value in values.items():
        if name in bindings:
            edits += _binding(bindings[name], value, collector)
        elif name in present or name in SETTINGS:
            edits += _setting(source, train, name, value, collector)
        else:
            _unknown(name, value, (*bindings, *SETTINGS), collector)
    collector.refuse_errors()
    text = source.text
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return SourceText(source.name, text)


def _binding(binding: tree.Binding, value: str, collector: DiagnosticCollector) -> Iterator[Edit]:
    given = _item(f"{binding.name.text} = {value}", collector)
    if isinstance(given, tree.Binding) and given.at is None:
        yield Edit(binding.value.span.start, binding.value.span.end, given.value.span.text)
    elif given is not None:
        _no_value(given.span, collector)


def _setting(
    source: SourceText, train: tree.Train | None, name: str, value: str, collector: DiagnosticCollector
) -> Iterator[Edit]:
    """Edits by which a setting has a value: in its place, or at the end of `train`, which may be new."""
    given = _item(f"train {{ {name} {value} }}", collector)
    if given is None:
        return
    if not isinstance(given, tree.Train) or len(given.settings) != 1 or _limited(given.settings[0]):
        _no_value(given.span, collector)
        return
    values = _values(given.settings[0]).text
    same = [s for s in train.settings if s.name.text == name and not _limited(s)] if train else []
    for setting in same:
        span = _values(setting)
        yield Edit(span.start, span.end, values)
    if train is not None and not same:
        end = train.span.end - 1
        yield Edit(len(source.text[:end].rstrip()), end, f"\n  {name} {values}\n")
    elif train is None:
        yield Edit(len(source.text), len(source.text), f"\ntrain {{\n  {name} {values}\n}}\n")


def _limited(setting: tree.Setting) -> bool:
    """Whether it is for some weights alone: `optimizer … for *.wide`."""
    return bool(setting.values and setting.patterns)


def _values(setting: tree.Setting) -> Span:
    """What stands after the setting's name."""
    start = setting.name.span.end
    end = (setting.values or setting.patterns)[-1].span.end
    text = setting.span.source.text[start:end]
    return Span(setting.span.source, end - len(text.lstrip()), end)


def _item(text: str, collector: DiagnosticCollector) -> tree.Item | None:
    """The one statement of a text; None where it has a mistake, which is reported, or is not one."""
    source, found = SourceText("--set", text), DiagnosticCollector()
    spec = parse(source, found)
    if found.errors:
        for each in found.diagnostics:
            collector.error(each.code, each.message, each.span, each.help, *each.labels)
        return None
    if len(spec.items) != 1:
        _no_value(Span(source, 0, len(text)), collector)
        return None
    return spec.items[0]


def _no_value(span: Span, collector: DiagnosticCollector) -> None:
    collector.error("VFL0001", "this is not one value", span, "give a value as in the spec: --set LR=0.01")


def _unknown(name: str, value: str, known: tuple[str, ...], collector: DiagnosticCollector) -> None:
    source = SourceText("--set", f"{name} = {value}")
    near = did_you_mean(name, known)
    collector.error(
        "VFL0101",
        f"the spec has no binding `{name}`, and `train` no such setting",
        Span(source, 0, len(name)),
        f"did you mean `{near}`?" if near else f"bind it at the top level of the spec: {name} = {value}",
    )
