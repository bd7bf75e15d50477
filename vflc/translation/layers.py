"""Layers with weights, and the columns that they read, as functions of the language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vflc.translation.bindings import Bindings
from vflc.translation.embedding_groups import EmbeddingGroup
from vflc.translation.graph import InputColumn, Value
from vflc.translation.names import Names, families, identifier, literal
from vflc.translation.structure import DenseChain
from vflc.translation.text import ATOM, PRODUCT, SUM, Text, flat


class LayerWriter(Bindings):
    """Writes values that have weights; each is bound, so that its weights have a name."""

    # --- layers with weights ----------------------------------------------------------------------------

    def _dense(self, value: Value) -> Text:
        if (chain := self._found.chains.get(id(value))) is not None:
            return self._mlp(chain)
        x = self._last_axis(value.inputs[0])
        if value.many:
            return self._shared_dense(value, x)
        a = value.attrs
        units = self._said(id(value), "units", str(a["units"]))
        activation = self._said(id(value), "activation", a["activation"])
        settings = ["activation = " + activation] * (activation != "linear")
        settings += ["bias = false"] * (not a["bias"]) + _first(a, "glorot_uniform")
        text = f"dense({', '.join([x.text, units, *settings])})"
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

    def _mlp(self, chain: DenseChain) -> Text:
        x, last = self._last_axis(chain.layers[0].inputs[0]), chain.layers[-1]
        listed = f"[{', '.join(str(layer.attrs['units']) for layer in chain.layers)}]"
        units = self._said(id(last), "units", listed)
        a, usual = last.attrs, chain.layers[0].attrs["activation"]
        activation = self._said(id(last), "activation", usual)
        settings = ["activation = " + activation] * (activation != "relu")
        settings += ["last = " + a["activation"]] * (usual != a["activation"])
        settings += [f"dropout = {literal(chain.dropout)}"] * bool(chain.dropout) + ["bias = false"] * (
            not a["bias"]
        )
        text = Text(f"mlp({', '.join([x.text, units, *settings])})", ATOM, (*x.axes[:-1], (None, a["units"])))
        weights = {f"{i}.{k}": at for i, layer in enumerate(chain.layers) for k, at in layer.weights.items()}
        name = self._named(id(last), chain.name) or "deep"
        name = name if self.fresh.free(name) else f"{name}_mlp"
        bound = self._called(last) if id(last) in self._results else self.fresh.fresh(name)
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

    def _weight(self, value: Value) -> Text:
        """A weight that arithmetic reads: made once, and held still where the file does."""
        key, sizes = value.weights[""], value.shape or (1,)
        if key not in self._shared:
            settings = [*map(str, sizes), *_first(value.attrs, "uniform")]
            made = Text(f"weight({', '.join(settings)})", ATOM, flat(*sizes))
            name = self._named(id(value), value.layer) or "weights"
            self._shared[key] = self._bind(self.fresh.fresh(name), made).text
            self.weights[self._shared[key]] = key
            self._penalise(value, self._shared[key])
        name = self._shared[key]
        return Text(f"stop_gradient({name})" if value.attrs["frozen"] else name, ATOM, flat(*sizes))

    def _layer_norm(self, value: Value) -> Text:
        x, a = self._last_axis(value.inputs[0]), value.attrs
        settings = [
            f"{k} = {literal(v)}" for k, v in a.items() if v != {"epsilon": 1e-3, "momentum": 0.99}[k]
        ]
        text = Text(f"{value.op}({', '.join([x.text, *settings])})", ATOM, x.axes)
        return self._layer(value, text, value.op, value.weights)

    _batch_norm = _layer_norm

    def _layered(self, value: Value) -> Text:
        """A function of the language that stands for a layer as it is."""
        given, a = [self._fit(v) for v in value.inputs], value.attrs
        settings = [f"{key} = {_setting(setting)}" for key, setting in a["settings"].items()]
        text = (
            f"{a['function']}({', '.join([*(t.text for t in given), *map(str, a['arguments']), *settings])})"
        )
        names = [name for name, _ in given[0].axes[: len(value.shape) - 1]]
        axes = tuple(zip((*names, None), value.shape, strict=True))
        return self._layer(value, Text(text, ATOM, axes), a["function"], value.weights)

    # --- columns ----------------------------------------------------------------------------------------

    def _feature(self, value: Value) -> Text:
        """Numbers of a column, or of several as a vector; ids are read by `embed` alone."""
        column = value.attrs["column"]
        if len(column.members) == 1:  # a number, or a vector in one column
            return Text(self._one(value), ATOM, flat(*(value.shape or (1,))))
        return Text(f"concat({self._list(value)})", ATOM, flat(column.count))

    def _one(self, value: Value) -> str:
        return self._parameter(id(value)) or ".".join(self._field(value))

    def _field(self, value: Value) -> tuple[str, str]:
        """The party and the name of a column's feature."""
        column = value.attrs["column"]
        raw = column.members[0]
        return self.owner[raw], encoded_name(column, self.names[raw], value.attrs["encoding"])

    def _list(self, value: Value) -> str:
        """The columns of a vector as a list of features."""
        column: InputColumn = value.attrs["column"]
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
            self.names[raw] for column in self.columns for raw in column.members if self.owner[raw] == party
        ]
        plain = all(len(column.encodings) < 2 for column in self.columns)
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
        first, dim = _first(a, "uniform"), f"dim = {self._said(id(value), 'dim', str(a['dim']))}"
        combiner = ["combiner = mean"] * (a.get("combiner") == "mean")
        if not many and not value.many:
            text = f"embed({', '.join([self._one(feature), dim, *combiner, *first])})"
            bound = self._bind(self._called(value, f"e_{feature.attrs['column'].name}"), Text(text, ATOM, ()))
            self.weights[f"{bound.text}.{self._field(feature)[1]}"] = value.weights["table"]
            self._penalise(value, f"{bound.text}.tables")
            return Text(bound.text, ATOM, flat(a["dim"]))
        table = self._table(value, first)
        if not many and "combiner" in a:
            given = ", ".join([self._one(feature), dim, *combiner, f"table = {table}"])
            return Text(f"embed({given})", ATOM, flat(a["dim"]))
        if not many:  # one id in a row, or as many in each
            several = (("value", feature.shape[0]),) if feature.shape > (1,) else ()
            return Text(f"lookup({table}, {self._one(feature)})", ATOM, (*several, *flat(a["dim"])))
        text = f"embed({self._list(feature)}, dim = {a['dim']}, table = {table})"
        return Text(text, ATOM, (("field", feature.shape[0]), (None, a["dim"])))

    def _table(self, value: Value, first: list[str]) -> str:
        """The name of a table that several columns or values read."""
        key = value.weights["table"]
        if key not in self._shared:
            column = value.inputs[0].attrs["column"].name
            text = f"table({', '.join([str(value.attrs['rows']), str(value.attrs['dim']), *first])})"
            name = value.layer if value.named else column
            called = self.fresh.fresh(name if identifier(name).endswith("table") else f"{name}_table")
            bound = self._bind(called, Text(text, ATOM, ()))
            self._shared[key] = bound.text
            self._penalise(value, bound.text)
            self.weights[bound.text] = value.weights["table"]
        return self._shared[key]

    def _group(self, group: EmbeddingGroup) -> str:
        """The name of the embeddings of several fields, [field, dim]."""
        key = id(group)
        if key not in self._grouped:
            a, many = group.members[0].attrs, [v for v in group.members if v.many]
            settings = [f"dim = {self._said(key, 'dim', str(a['dim']))}"]
            settings += ["combiner = mean"] * any(v.attrs.get("combiner") == "mean" for v in group.members)
            settings += [f"table = {self._table(many[0], _first(a, 'uniform'))}"] if many else []
            own = [member for member in group.members if not member.many]
            settings += _first(a, "uniform") if own else []
            text = f"embed({', '.join([self._fields(group), *settings])})"
            name = self._named(key, group.name) or "e"
            bound = self._bind(self.fresh.fresh(name), Text(text, ATOM, ())).text
            self._grouped[key] = bound
            if own:
                self._penalise(group.members[0], f"{bound}.tables")
            names = Names([])  # columns of two parties may have one name
            for member in own:
                name = names.fresh(self._field(member.inputs[0])[1])
                self.weights[f"{bound}.{name}"] = member.weights["table"]
        return self._grouped[key]

    def _fields(self, group: EmbeddingGroup) -> str:
        """The list of the columns of a group."""
        given = self._parameter(id(group.fields))
        return given or self.features([self._field(member.inputs[0]) for member in group.members])

    def _one_hot(self, value: Value) -> Text:
        depth = value.attrs["depth"]
        return Text(f"one_hot({self._one(value.inputs[0])}, depth = {depth})", ATOM, flat(depth))


def encoded_name(column: InputColumn, name: str, chain: str) -> str:
    """What the feature of a column is called: by its place among several encodings of it."""
    return name if len(column.encodings) < 2 else f"{name}_{column.encodings.index(chain) + 1}"


def _setting(value: object) -> str:
    """Of a function: a list, `true`, a word, or a number."""
    if isinstance(value, (bool, list)):
        return str(value).lower()
    return value if isinstance(value, str) else literal(value)


def _first(attrs: Mapping[str, object], usual: str) -> list[str]:
    """`init = …`, `scale = …` where they are not the function's own."""
    init, scale = attrs["init"], attrs.get("scale", 0.05)
    found = [f"init = {init}"] * (init != usual)
    return found + [f"scale = {literal(scale)}"] * (init in ("uniform", "normal") and scale != 0.05)
