"""The graph of a spec: bindings and expressions, from operations on rows.

A value may be written with fewer axes of size 1 than the file gives it: an embedding of one id is [8] here,
and [1, 8] in the file. Axes are put in where an operation would tell the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from msgspec import Struct

from vflc.importing.graph import Column, Imported, Shape, Value, refuse, shown
from vflc.importing.names import Names, literal
from vflc.importing.owners import families
from vflc.importing.structure import Chain, Group, Structures, find

ATOM, POWER, UNARY, PRODUCT, SUM = 9, 7, 6, 5, 4
"""How tightly text holds together."""
LONG = 88
"""An expression longer than this gets a name of its own before it is used in another."""
Axes = tuple[tuple[str | None, int], ...]
INFIX = {
    "add": ("+", SUM),
    "sub": ("-", SUM),
    "mul": ("*", PRODUCT),
    "div": ("/", PRODUCT),
    "pow": ("**", POWER),
}
WEIGHTED = {"dense", "embed", "layer_norm", "batch_norm"}
NAMED_BY_OP = {
    "concat": "joined", "stack": "stacked", "add": "total", "sum": "total", "mul": "product",
    "matmul": "product",
    "dense": "hidden", "dropout": "dropped", "layer_norm": "normed", "batch_norm": "normed",
    "softmax": "shares",
    "sub": "difference", "div": "ratio", "feature": "x",
}  # fmt: skip
"""What a value is called that has no name of its own."""


class Text(Struct, frozen=True):
    """An expression, how tightly it holds together, and its axes in the language."""

    text: str
    level: int
    axes: Axes

    @property
    def sizes(self) -> Shape:
        return tuple(size for _, size in self.axes)

    def within(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"


def flat(*sizes: int) -> Axes:
    return tuple((None, size) for size in sizes)


class Graph:
    """Writes a model's values.

    Args:
        model: whose.
        names: of each column of the file in the spec.
        owner: of each column of the file.
        fresh: names that are still free.
    """

    def __init__(
        self, model: Imported, names: Mapping[str, str], owner: Mapping[str, str], fresh: Names
    ) -> None:
        self.model, self.names, self.owner, self.fresh = model, names, owner, fresh
        self.lines: list[str] = []
        self.weights: dict[str, str] = {}
        self._texts: dict[int, Text] = {}
        self._grouped: dict[int, str] = {}
        self._shared: dict[str, str] = {}
        self.penalties: list[str] = []
        self._results: dict[int, str] = {}
        self._found: Structures

    def write(self, outputs: Sequence[Value], losses: Sequence[str]) -> list[str]:
        """The names of the outputs, after all lines that make them."""
        self._found = find(outputs)
        for value, loss in zip(outputs, losses, strict=True):
            usual = "logit" if loss in ("bce", "cce") else "score"
            self._results.setdefault(id(value), self.fresh.fresh(value.layer if value.named else usual))
        for value in self._found.values:
            if id(value) not in self._found.inside:
                self._texts[id(value)] = self._bound(value, self._text(value))
        return [self._name_output(value) for value in outputs]

    def _name_output(self, value: Value) -> str:
        text = self._fit(value)
        return text.text if text.text.isidentifier() else self._bind(self.fresh.fresh("score"), text).text

    # --- bindings -----------------------------------------------------------------------------------

    def _bind(self, name: str, text: Text) -> Text:
        """A line for the text, under a name that is still free."""
        self.lines.append(f"{name} = {text.text}")
        return Text(name, ATOM, text.axes)

    def _bound(self, value: Value, text: Text) -> Text:
        """The text, or a name for it: of layers that have one, of what is read twice, of what is long."""
        users = self._found.users[id(value)]
        plain = value.op in ("number", "feature") and len(value.shape) < 2 and prod(value.shape) == 1
        if plain or text.text.isidentifier():
            return text
        if value.named or id(value) in self._results or len(users) > 1 or len(text.text) > LONG:
            return self._bind(self._called(value), text)
        return text

    def _called(self, value: Value, otherwise: str | None = None) -> str:
        """What a value is bound to: its name as an output, a person's, or one by what it is."""
        if id(value) in self._results:
            return self._results[id(value)]
        column = str(value.attrs["column"].name) if value.op == "feature" else None
        return self.fresh.fresh(
            value.layer if value.named else otherwise or column or NAMED_BY_OP.get(value.op, "value")
        )

    def _fit(self, value: Value) -> Text:
        """The value with the very axes that the file gives it; a number is a vector of one."""
        text, shape = self._texts[id(value)], value.shape or (1,)
        if text.sizes == shape:
            return text
        if len(shape) == 1:
            return Text(f"flatten({text.text})", ATOM, flat(*shape))
        return Text(f"reshape({text.text}, {', '.join(map(str, shape))})", ATOM, flat(*shape))

    def _vector(self, value: Value) -> Text:
        """The value along one axis."""
        text = self._texts[id(value)]
        return text if len(text.axes) == 1 else Text(f"flatten({text.text})", ATOM, flat(prod(value.shape)))

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
        return Text(f"{value.op}({', '.join(t.text for t in given)}{settings})", ATOM, _widest(given))

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
        sign, level = INFIX[value.op]
        given = self._alike(value.inputs)
        first = given[0].within(level + (value.op == "pow"))
        rest = [t.within(level + (value.op != "pow")) for t in given[1:]]
        return Text(f" {sign} ".join([first, *rest]), level, _widest(given))

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

    def _runs(self, values: Sequence[Value]) -> list[tuple[Group | None, list[Value]]]:
        """Groups of embeddings, and between them values one by one."""
        found: list[tuple[Group | None, list[Value]]] = []
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

    def _above(self, values: Sequence[Value], rest: Shape) -> Text:
        """Values above one another along a new axis, which gets a name."""
        wanted = rest or (1,)
        runs, parts, single = self._runs(values), list[str](), list[Text]()
        taken = {name for value in values for name, _ in self._texts[id(value)].axes}
        axis = next(name for name in AXES if name not in taken)
        inner = _widest([Text("", ATOM, flat(*wanted))])
        for group, members in [*runs, (None, [])]:
            if members and group is None:
                one, sizes = self._texts[id(members[0])], ", ".join(map(str, wanted))
                whole = one.sizes == wanted
                single.append(one if whole else Text(f"reshape({one.text}, {sizes})", ATOM, flat(*wanted)))
                continue
            if single:
                inner = _widest(single)
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
            return Text(f"{op}({self._texts[id(given)].text})", ATOM, flat(1))
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
        return Text(f"dropout({x.text}, {literal(value.attrs['rate'])})", ATOM, x.axes)

    # --- layers with weights ----------------------------------------------------------------------------

    def _dense(self, value: Value) -> Text:
        if (chain := self._found.chains.get(id(value))) is not None:
            return self._mlp(chain)
        x = self._last_axis(value.inputs[0])
        if value.many:
            return self._shared_dense(value, x)
        a = value.attrs
        settings = ["activation = " + a["activation"]] * (a["activation"] != "linear")
        settings += ["bias = false"] * (not a["bias"]) + _first(a, "glorot_uniform")
        text = f"dense({', '.join([x.text, str(a['units']), *settings])})"
        return self._layer(
            value, Text(text, ATOM, (*x.axes[:-1], (None, a["units"]))), "dense", value.weights
        )

    def _last_axis(self, value: Value) -> Text:
        """A value that is read along its last axis alone."""
        text = self._texts[id(value)]
        return (
            text
            if text.sizes and text.sizes[-1] == value.shape[-1] and len(text.axes) == 1
            else self._fit(value)
        )

    def _mlp(self, chain: Chain) -> Text:
        x, last = self._last_axis(chain.layers[0].inputs[0]), chain.layers[-1]
        units = ", ".join(str(layer.attrs["units"]) for layer in chain.layers)
        a = last.attrs
        settings = ["activation = " + a["activation"]] * (a["activation"] != "relu")
        settings += [f"dropout = {literal(chain.dropout)}"] * bool(chain.dropout) + ["bias = false"] * (
            not a["bias"]
        )
        text = Text(
            f"mlp({', '.join([x.text, f'[{units}]', *settings])})", ATOM, (*x.axes[:-1], (None, a["units"]))
        )
        weights = {f"{i}.{k}": at for i, layer in enumerate(chain.layers) for k, at in layer.weights.items()}
        bound = self._called(last) if id(last) in self._results else self.fresh.fresh(chain.name or "deep")
        self.weights |= {f"{bound}.mlp.{key}": at for key, at in weights.items()}
        return self._bind(bound, text)

    def _layer(self, value: Value, text: Text, called: str, weights: Mapping[str, str]) -> Text:
        """A binding of its own, below which the weights have their names."""
        bound = self._bind(self._called(value), text)
        self.weights |= {f"{bound.text}.{called}.{key}": at for key, at in weights.items()}
        self._penalise(value, f"{bound.text}.weights[0]")
        return bound

    def _penalise(self, value: Value, weights: str) -> None:
        """Terms of the objective for what the file penalises: kernels, and all rows of tables."""
        rows = ", rows = all" if value.op == "embed" else ""
        for name, coefficient in value.attrs.get("penalty", {}).items():
            self.penalties.append(f"{name}({literal(coefficient)}, {weights}{rows})")

    def _shared_dense(self, value: Value, x: Text) -> Text:
        """A layer that is used several times: its weights are made once."""
        a, key = value.attrs, value.weights["kernel"]
        if key not in self._shared:
            self._shared[key] = self.fresh.fresh(value.layer)
            name, inputs, units = self._shared[key], value.inputs[0].shape[-1], a["units"]
            first = _first({"init": a["init"], "scale": a.get("scale", 0.05)}, "uniform")
            made = {"kernel": f"weight({', '.join([str(inputs), str(units), *first])})"}
            made |= {"bias": f"weight({units}, init = zeros)"} if a["bias"] else {}
            for part, text in made.items():
                self.lines.append(f"{self.fresh.fresh(f'{name}_{part}')} = {text}")
                self.weights[f"{name}_{part}"] = value.weights[part]
            self._penalise(value, f"{name}_kernel")
        name = self._shared[key]
        text = f"{x.within(PRODUCT)} @ {name}_kernel" + f" + {name}_bias" * a["bias"]
        text = text if a["activation"] == "linear" else f"{a['activation']}({text})"
        level = ATOM if a["activation"] != "linear" else SUM if a["bias"] else PRODUCT
        return Text(text, level, (*x.axes[:-1], (None, a["units"])))

    def _layer_norm(self, value: Value) -> Text:
        x, a = self._last_axis(value.inputs[0]), value.attrs
        settings = [
            f"{k} = {literal(v)}" for k, v in a.items() if v != {"epsilon": 1e-3, "momentum": 0.99}[k]
        ]
        text = Text(f"{value.op}({', '.join([x.text, *settings])})", ATOM, x.axes)
        return self._layer(value, text, value.op, value.weights)

    _batch_norm = _layer_norm

    # --- columns ----------------------------------------------------------------------------------------

    def _feature(self, value: Value) -> Text:
        """Numbers of a column, or of several as a vector; ids are read by `embed` alone."""
        column = value.attrs["column"]
        if len(column.members) == 1:
            return Text(self._one(value), ATOM, flat(1))
        return Text(f"concat({self._list(value)})", ATOM, flat(column.count))

    def _one(self, value: Value) -> str:
        from vflc.importing.write import encoded_name

        column = value.attrs["column"]
        raw = column.members[0]
        return f"{self.owner[raw]}.{encoded_name(column, self.names[raw], value.attrs['encoding'])}"

    def _list(self, value: Value) -> str:
        """The columns of a vector as a list of features."""
        column: Column = value.attrs["column"]
        return self.features([(self.owner[raw], self.names[raw]) for raw in column.members])

    def features(self, members: Sequence[tuple[str, str]]) -> str:
        """A list of features, of one party after another."""
        runs: list[tuple[str, list[str]]] = []
        for party, name in members:
            if not runs or runs[-1][0] != party:
                runs.append((party, []))
            runs[-1][1].append(name)
        parts: list[str] = []
        for text in (self._of_party(party, names) for party, names in runs):
            if parts and parts[-1].startswith("[") and text.startswith("["):
                parts[-1] = f"{parts[-1][:-1]}, {text[1:]}"
            else:
                parts.append(text)
        return " + ".join(parts)

    def _of_party(self, party: str, names: list[str]) -> str:
        """The features of one party: all of them, a family, or one by one."""
        everything = [
            self.names[raw]
            for column in self.model.columns
            for raw in column.members
            if self.owner[raw] == party
        ]
        plain = all(len(column.encodings) < 2 for column in self.model.columns)
        if names == everything and plain and len(names) > 1 and "features" not in names:
            return f"{party}.features"
        found = families(names)
        if len(found) == 1 and len(names) > 1:
            return f"{party}.{found[0][0]}"
        return f"[{', '.join(f'{party}.{name}' for name in names)}]"

    def _embed(self, value: Value) -> Text:
        feature, a = value.inputs[0], value.attrs
        if (group := self._found.groups.get(id(value))) is not None:
            self._group(group)
            return Text(self._group(group), ATOM, flat(a["dim"]))  # never read by itself
        many = len(feature.attrs["column"].members) > 1
        first, dim = _first(a, "uniform"), f"dim = {a['dim']}"
        if not many and not value.many:
            text = f"embed({', '.join([self._one(feature), dim, *first])})"
            bound = self._bind(self._called(value, f"e_{feature.attrs['column'].name}"), Text(text, ATOM, ()))
            self.weights[f"{bound.text}.{self._one(feature).partition('.')[2]}"] = value.weights["table"]
            self._penalise(value, f"{bound.text}.tables")
            return Text(bound.text, ATOM, flat(a["dim"]))
        table = self._table(value, first)
        if not many:
            return Text(f"lookup({table}, {self._one(feature)})", ATOM, flat(a["dim"]))
        text = f"embed({self._list(feature)}, dim = {a['dim']}, table = {table})"
        return Text(text, ATOM, (("field", feature.shape[0]), (None, a["dim"])))

    def _table(self, value: Value, first: list[str]) -> str:
        """The name of a table that several columns or values read."""
        key = value.weights["table"]
        if key not in self._shared:
            column = value.inputs[0].attrs["column"].name
            text = f"table({', '.join([str(value.attrs['rows']), str(value.attrs['dim']), *first])})"
            called = self.fresh.fresh(f"{value.layer if value.named else column}_table")
            bound = self._bind(called, Text(text, ATOM, ()))
            self._shared[key] = bound.text
            self._penalise(value, bound.text)
            self.weights[bound.text] = value.weights["table"]
        return self._shared[key]

    def _group(self, group: Group) -> str:
        """The name of the embeddings of several fields, [field, dim]."""
        key = id(group)
        if key not in self._grouped:
            a, features = group.members[0].attrs, [v.inputs[0] for v in group.members]
            owned = [(self._one(f).partition(".")[0], self._one(f).partition(".")[2]) for f in features]
            dim = f"dim = {a['dim']}"
            text = f"embed({', '.join([self.features(owned), dim, *_first(a, 'uniform')])})"
            bound = self._bind(self.fresh.fresh(group.name or "e"), Text(text, ATOM, ())).text
            self._grouped[key] = bound
            self._penalise(group.members[0], f"{bound}.tables")
            for (_, name), member in zip(owned, group.members, strict=True):
                self.weights[f"{bound}.{name}"] = member.weights["table"]
        return self._grouped[key]

    def _one_hot(self, value: Value) -> Text:
        depth = value.attrs["depth"]
        return Text(f"one_hot({self._one(value.inputs[0])}, depth = {depth})", ATOM, flat(depth))


AXES = ("field", "part", "group", "member")
"""Names for axes that the file has no name for."""


def _widest(texts: Sequence[Text]) -> Axes:
    """The axes that values have together."""
    rank = max((len(t.axes) for t in texts), default=0)
    found: list[tuple[str | None, int]] = []
    for at in range(-rank, 0):
        here = [t.axes[at] for t in texts if len(t.axes) >= -at]
        found.append((next((name for name, _ in here if name), None), max(size for _, size in here)))
    return tuple(found)


def _first(attrs: Mapping[str, object], usual: str) -> list[str]:
    """`init = …`, `scale = …` where they are not the function's own."""
    init, scale = attrs["init"], attrs.get("scale", 0.05)
    found = [f"init = {init}"] * (init != usual)
    return found + [f"scale = {literal(scale)}"] * (init in ("uniform", "normal") and scale != 0.05)
