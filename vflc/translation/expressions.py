"""The graph of a spec: bindings and expressions, from operations on rows.

A value may be written with fewer axes of size 1 than the file gives it: an embedding of one id is [8] here,
and [1, 8] in the file. Axes are put in where an operation would tell the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from vflc.translation.embedding_groups import EmbeddingGroup
from vflc.translation.graph import AxisSizes, Value, refuse, shown
from vflc.translation.layers import LayerWriter
from vflc.translation.names import literal
from vflc.translation.structure import find
from vflc.translation.text import ATOM, AXES, POWER, PRODUCT, SUM, UNARY, Text, flat, widest

INFIX = {
    "add": ("+", SUM),
    "sub": ("-", SUM),
    "mul": ("*", PRODUCT),
    "div": ("/", PRODUCT),
    "pow": ("**", POWER),
}


def _unflat(text: str) -> str:
    """`x` of `flatten(x)`: for what reads all of a row, its axes do not matter."""
    name = text.removeprefix("flatten(").removesuffix(")")
    return name if text == f"flatten({name})" and name.isidentifier() else text


class GraphWriter(LayerWriter):
    """Writes a model's values; see `Bindings`."""

    def write(self, outputs: Sequence[Value], losses: Sequence[str]) -> list[str]:
        """The names of the outputs, after all lines that make them."""
        self._found = find(outputs)
        self._name_results(outputs, losses)
        for value in self._found.values:
            if id(value) not in self._found.inside:
                self._texts[id(value)] = self._bound(value, self._text(value))
        return [self._name_output(value) for value in outputs]

    def _name_results(self, outputs: Sequence[Value], losses: Sequence[str]) -> None:
        for value, loss in zip(outputs, losses, strict=True):
            usual = "logit" if loss in ("bce", "cce") else "score"
            chain = self._found.chains.get(id(value))
            called = (chain and chain.name) or (value.layer if value.named else usual)
            if id(value) not in self._results:
                self._results[id(value)] = self.fresh.fresh(called)

    def _name_output(self, value: Value) -> str:
        text = self._fit(value)
        return text.text if text.text.isidentifier() else self._bind(self.fresh.fresh("score"), text).text

    # --- operations -----------------------------------------------------------------------------------

    def _text(self, value: Value) -> Text:
        write: Callable[[Value], Text] | None = getattr(self, f"_{value.op}", None)
        if value.op in INFIX:
            return self._infix(value)
        return write(value) if write is not None else self._elementwise(value)

    def _number(self, value: Value) -> Text:
        number = value.attrs["value"]
        return Text(literal(number), UNARY if number < 0 else ATOM, ())

    def _elementwise(self, value: Value) -> Text:
        """`f(x, …)` with settings that are no axes."""
        given = self._alike(value.inputs)
        settings = "".join(f", {key} = {literal(setting)}" for key, setting in value.attrs.items())
        return Text(f"{value.op}({', '.join(t.text for t in given)}{settings})", ATOM, widest(given))

    def _neg(self, value: Value) -> Text:
        (x,) = self._alike(value.inputs)
        return Text(f"-{x.within(UNARY)}", UNARY, x.axes)

    def _alike(self, values: Sequence[Value]) -> list[Text]:
        """Values whose axes meet as in the file."""
        texts = [self._texts[id(v)] for v in values]
        rows = [(v, t) for v, t in zip(values, texts, strict=True) if v.op != "number"]
        exact = all(t.sizes == (v.shape or (1,)) for v, t in rows)
        if exact or len({(v.shape, t.sizes) for v, t in rows}) == 1:
            return texts
        return [t if v.op == "number" else self._fit(v) for v, t in zip(values, texts, strict=True)]

    def _infix(self, value: Value) -> Text:
        if value.op == "add" and (parts := self._parts(value)) is not None:
            return Text(" + ".join(t.within(SUM) for t in parts), SUM, parts[0].axes)
        if value.op in ("mul", "div") and value.inputs[1].attrs.get("value") == 1:
            return self._texts[id(value.inputs[0])]
        sign, level = INFIX[value.op]
        given = self._alike(value.inputs)
        first = given[0].within(level + (value.op == "pow"))
        rest = [t.within(level + (value.op != "pow")) for t in given[1:]]
        return Text(f" {sign} ".join([first, *rest]), level, widest(given))

    def _parts(self, value: Value) -> list[Text] | None:
        """Terms of a sum of which some are groups of embeddings; None where none is."""
        runs = self._runs(value.inputs)
        if all(group is None for group, _ in runs):
            return None
        return [
            Text(f"sum({self._group(group)}, axis = field)", ATOM, flat(members[0].shape[-1]))
            if group
            else self._vector(members[0])
            for group, members in runs
        ]

    def _runs(self, values: Sequence[Value]) -> list[tuple[EmbeddingGroup | None, list[Value]]]:
        """Groups of embeddings, and between them values one by one."""
        found: list[tuple[EmbeddingGroup | None, list[Value]]] = []
        for value in values:
            group = self._found.groups.get(id(value))
            if group is not None and found and found[-1][0] is group:
                found[-1][1].append(value)
            else:
                found.append((group, [value]))
        return found

    def _concat(self, value: Value) -> Text:
        axis, width = value.attrs["axis"], len(value.shape)
        if all(set(v.shape[:axis] + v.shape[axis + 1 :]) <= {1} for v in value.inputs):
            parts = [
                f"flatten({self._group(group)})" if group else self._vector(members[0]).text
                for group, members in self._runs(value.inputs)
            ]
            text = parts[0] if len(parts) == 1 else f"concat({', '.join(parts)})"
            return Text(text, ATOM, flat(prod(value.shape)))
        if axis == 0 and all(v.shape[0] == 1 for v in value.inputs):
            return self._above(value.inputs, value.shape[1:])
        if axis == width - 1:
            return Text(
                f"concat({', '.join(self._fit(v).text for v in value.inputs)})", ATOM, flat(*value.shape)
            )
        if axis == 0:
            joined = ", ".join(self._vector(v).text for v in value.inputs)
            return Text(
                f"reshape(concat({joined}), {', '.join(map(str, value.shape))})", ATOM, flat(*value.shape)
            )
        refuse(
            "VFL0701",
            f"`{value.layer}` joins along axis {axis + 1} of {width + 1}",
            "join along the first or last axis of a row",
        )

    def _stack(self, value: Value) -> Text:
        rest = value.inputs[0].shape
        if value.attrs["axis"] == 0:
            return self._above(value.inputs, rest)
        if value.attrs["axis"] == len(rest):
            sizes = ", ".join(map(str, (*rest, 1)))
            parts = [f"reshape({self._texts[id(v)].text}, {sizes})" for v in value.inputs]
            return Text(f"concat({', '.join(parts)})", ATOM, flat(*value.shape))
        refuse(
            "VFL0701",
            f"`{value.layer}` stacks along a middle axis",
            "stack along the first or last axis of a row",
        )

    def _above(self, values: Sequence[Value], rest: AxisSizes) -> Text:
        """Values above one another along a new axis, which gets a name."""
        wanted = rest or (1,)
        runs, parts, single = self._runs(values), list[str](), list[Text]()
        taken = {name for value in values for name, _ in self._texts[id(value)].axes}
        axis = next(name for name in AXES if name not in taken)
        inner = widest([Text("", ATOM, flat(*wanted))])
        for group, members in [*runs, (None, [])]:
            if members and group is None:
                one, sizes = self._texts[id(members[0])], ", ".join(map(str, wanted))
                whole = one.sizes == wanted
                single.append(one if whole else Text(f"reshape({one.text}, {sizes})", ATOM, flat(*wanted)))
                continue
            if single:
                inner = widest(single)
                parts.append(f"stack([{', '.join(t.text for t in single)}], axis = {axis})")
                single = []
            if group is not None:
                parts.append(self._group(group))
        text = parts[0] if len(parts) == 1 else f"concat({', '.join(parts)}, axis = {axis})"
        return Text(text, ATOM, ((axis, len(values)), *inner))

    def _reshape(self, value: Value) -> Text:
        """Nothing is written for axes of size 1; they are put in where they matter."""
        text, wanted = self._texts[id(value.inputs[0])], tuple(n for n in value.shape if n != 1)
        if tuple(n for n in text.sizes if n != 1) == wanted:
            return text
        if len(wanted) < 2:
            return Text(f"flatten({text.text})", ATOM, flat(prod(value.shape)))
        return Text(f"reshape({text.text}, {', '.join(map(str, value.shape))})", ATOM, flat(*value.shape))

    def _slice(self, value: Value) -> Text:
        axis, start, stop = (value.attrs[key] for key in ("axis", "start", "stop"))
        x = self._fit(value.inputs[0])
        if len(x.axes) > 1 and x.axes[axis][0] is None:
            if axis != 0:
                refuse(
                    "VFL0701",
                    f"`{value.layer}` takes a part along axis {axis + 1}",
                    "take parts along the first axis of a row",
                )
            x = self._with_name(x)
        name = x.axes[axis][0] or "value"
        axes = (*x.axes[:axis], (x.axes[axis][0], stop - start), *x.axes[axis + 1 :])
        return Text(f"slice({x.text}, {name}, {start}, {stop})", ATOM, axes)

    def _with_name(self, x: Text) -> Text:
        """The value with a name for its first axis: cut along it and put together again."""
        name = next(n for n in AXES if all(n != other for other, _ in x.axes))
        vector = self._bind(self.fresh.fresh("rows"), Text(f"flatten({x.text})", ATOM, flat(prod(x.sizes))))
        width = prod(x.sizes[1:])
        cut = f"slice({vector.text}, value, {width} * i, {width} * i + {width})"
        cut = cut if len(x.sizes) == 2 else f"reshape({cut}, {', '.join(map(str, x.sizes[1:]))})"
        text = f"stack([{cut} for i in 0..{x.sizes[0] - 1}], axis = {name})"
        return self._bind(
            self.fresh.fresh("rows"), Text(text, ATOM, ((name, x.sizes[0]), *flat(*x.sizes[1:])))
        )

    def _sum(self, value: Value) -> Text:
        given, axes, op = value.inputs[0], value.attrs["axes"], value.op
        kept = [n for i, n in enumerate(given.shape) if i not in axes]
        if set(kept) <= {1}:
            return Text(f"{op}({_unflat(self._texts[id(given)].text)})", ATOM, flat(1))
        x = self._fit(given)
        for axis in sorted(axes, reverse=True):
            x = self._over(x, op, axis, value.layer)
        return x

    _mean = _max = _sum

    def _over(self, x: Text, op: str, axis: int, layer: str) -> Text:
        """A sum, mean or max over one axis of several."""
        rest = (*x.axes[:axis], *x.axes[axis + 1 :])
        if x.axes[axis][0] is None and axis == 0:
            x = self._with_name(x)
        if (name := x.axes[axis][0]) is not None:
            return Text(f"{op}({x.text}, axis = {name})", ATOM, rest)
        if len(x.axes) != 2:
            refuse(
                "VFL0701",
                f"`{layer}` reduces axis {axis + 1} of {shown(x.sizes)}",
                "reduce the first axis of a row, or all",
            )
        if x.axes[0][0] is None:
            x = self._with_name(x)
        if not x.text.isidentifier():
            x = self._bind(self.fresh.fresh("rows"), x)
        each = f"{op}(slice({x.text}, {x.axes[0][0]}, i, i + 1))"
        return Text(f"concat([{each} for i in 0..{x.sizes[0] - 1}])", ATOM, flat(x.sizes[0]))

    def _softmax(self, value: Value) -> Text:
        axis, x = value.attrs["axis"], self._fit(value.inputs[0])
        if axis == len(x.axes) - 1:
            return Text(f"{value.op}({x.text})", ATOM, x.axes)
        if x.axes[axis][0] is None:
            if axis != 0:
                refuse(
                    "VFL0701",
                    f"`{value.layer}` is a softmax along a middle axis",
                    "use the first or last axis of a row",
                )
            x = self._with_name(x)
        return Text(f"{value.op}({x.text}, axis = {x.axes[axis][0]})", ATOM, x.axes)

    _log_softmax = _softmax

    def _matmul(self, value: Value) -> Text:
        x, y = (self._fit(v) for v in value.inputs)
        return Text(f"matmul({x.text}, {y.text})", ATOM, (*x.axes[:-1], y.axes[-1]))

    def _dot(self, value: Value) -> Text:
        x, y = (self._vector(v) for v in value.inputs)
        return Text(f"dot({x.text}, {y.text})", ATOM, flat(1))

    def _dropout(self, value: Value) -> Text:
        x = self._texts[id(value.inputs[0])]
        rate = self._said(id(value), "rate", literal(value.attrs["rate"]))
        return Text(f"dropout({x.text}, {rate})", ATOM, x.axes)
