"""Random specs that are written as if all tables lay in one, for Hypothesis."""

from __future__ import annotations

from math import prod

from compiler.random_specs import FEATURES, NAMES, OPTIMIZERS
from hypothesis import strategies as st
from msgspec import Struct, field

SMOOTH = ("tanh", "sigmoid", "softplus", "gelu")
"""What jumps nowhere and has no kinks: a sum in another order may lie on the other side of one."""
LIBRARY = (
    "LogisticRegression({all})",
    "FM({all}, k = 2)",
    "DeepFM({all}, k = 2, units = [3], activation = tanh)",
    "WideDeep({all}, {all}, k = 2, units = [3], activation = tanh)",
    "DCN({all}, k = 2, layers = 1, units = [3], activation = tanh)",
    "MLP({all}, k = 2, units = [3, 2], activation = tanh)",
)


class Value(Struct, frozen=True):
    """A value of the spec: its name and the axes of a row, each a name (or none) and a size."""

    name: str
    axes: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        return prod(size for _, size in self.axes)

    @property
    def named(self) -> list[tuple[int, str]]:
        return [(at, name) for at, (name, _) in enumerate(self.axes) if name]


class _Model(Struct):
    """The statements of a model, as far as it is written."""

    draw: st.DrawFn
    parties: tuple[str, ...]
    lines: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    weights: dict[tuple[int, ...], str] = field(default_factory=dict)
    learning: list[str] = field(default_factory=list)

    def one_of(self, *choices: object) -> object:
        return self.draw(st.sampled_from(choices))

    def chance(self, of: int) -> bool:
        return self.draw(st.integers(1, of)) == of

    def bind(self, text: str, axes: tuple[tuple[str, int], ...]) -> Value:
        """Now and then at a place of the user's choice."""
        name = f"v{len(self.lines)}"
        place = f" at {self.one_of(*self.parties)}" if self.chance(12) else ""
        self.lines.append(f"{name} = {text}{place}")
        self.values.append(Value(name, axes))
        if any(maker in text for maker in ("embed(", "dense(", "mlp(", "_norm(")):
            self.learning.append(f"{name}.weights")
        return self.values[-1]

    def weight(self, *sizes: int) -> str:
        """A weight of these sizes: a new one, or one that something else reads already."""
        if sizes not in self.weights or self.chance(2):
            name = f"w{len(self.lines)}"
            self.lines.append(f"{name} = weight({', '.join(map(str, sizes))}, init = normal, scale = 0.5)")
            self.weights[sizes] = name
            self.learning.append(name)
        return self.weights[sizes]

    def like(self, value: Value) -> list[Value]:
        return [other for other in self.values if other.axes == value.axes]


@st.composite
def one_table_specs(draw: st.DrawFn) -> str:
    """A whole spec over the features of two to four parties, hardly any of it with a place."""
    names = NAMES[: draw(st.integers(2, 4))]
    owner = draw(st.sampled_from(names))
    counts = {name: draw(st.integers(1, 3)) for name in names}
    lines = ["use recsys", *(_party(draw, name, counts[name], name == owner) for name in names)]
    model = _Model(draw, names)
    _starts(model, counts)
    for _ in range(draw(st.integers(2, 8))):
        _step(model, draw(st.sampled_from(model.values)))
    outputs = [_output(model, counts) for _ in range(draw(st.integers(1, 2)))]
    lines += model.lines
    terms = []
    for index, output in enumerate(outputs):
        loss = draw(st.sampled_from(("bce", "mse", "huber")))
        lines.append(f"z{index} = {output}")
        lines.append(f"predict p{index} = {f'sigmoid(z{index})' if loss == 'bce' else f'1 * z{index}'} of y")
        terms.append(f"{loss}(z{index}, {owner}.y)")
    lines.append(f"objective {' + 0.5 * '.join(terms)}{_penalty(model)}")
    lines.append(f"train {{\n  optimizer {draw(st.sampled_from(OPTIMIZERS))}{_extra(model)}\n  batch 8\n}}")
    return "\n".join(lines) + "\n"


def _party(draw: st.DrawFn, name: str, features: int, label: bool) -> str:
    rows = [
        f"feature f{index}: {draw(st.sampled_from(FEATURES)).split(': ', 1)[1]}".format(
            n=draw(st.integers(2, 9))
        )
        for index in range(features)
    ]
    rows += ["feature x: float", *(["column target: float", "label y = target > 0"] if label else [])]
    return "\n  ".join((f"party {name} {{", "key ID", *rows)) + "\n}"


def _starts(model: _Model, counts: dict[str, int]) -> None:
    """Values that are put together from several parties."""
    every = " + ".join(f"{name}.features" for name in counts)
    fields = sum(counts.values()) + len(counts)
    own = [f"dense(flatten(embed({name}.features, dim = 2)), 3)" for name in counts]
    kinds = st.sampled_from(("embed", "embed", "flat", "concat", "stack", "sum", "raw"))
    for kind in model.draw(st.lists(kinds, min_size=1, max_size=2)):
        if kind == "embed":
            model.bind(f"embed({every}, dim = 3)", (("field", fields), ("", 3)))
        elif kind == "flat":
            model.bind(f"flatten(embed({every}, dim = 2))", (("", 2 * fields),))
        elif kind == "concat":
            model.bind(f"concat({', '.join(own)})", (("", 3 * len(own)),))
        elif kind == "stack":
            model.bind(f"stack([{', '.join(own)}], axis = side)", (("side", len(own)), ("", 3)))
        elif kind == "sum":
            signs = model.draw(st.lists(st.sampled_from(("+", "-")), min_size=len(own), max_size=len(own)))
            text = " ".join(f"{sign} {each}" for sign, each in zip(signs, own, strict=True))
            model.bind(f"3 {text}", (("", 3),))
        else:
            text = ", ".join(f"{name}.x" for name in counts)
            model.bind(f"dense(concat({text}), 3)", (("", 3),))


def _step(model: _Model, x: Value) -> None:
    """One more value, made of a value there is."""
    last = x.axes[-1][1]
    kinds = ["smooth", "square", "scale", "weigh", "dense", "shift", "like", "bias", "drop", "batch", "layer"]
    kinds += ["matmul", "softmax", "gate"]
    kinds += ["flatten", "reduce", "named", "rename", "swap"] if len(x.axes) > 1 else ["reshape"]
    if any(size > 2 for _, size in x.axes) and x.named:
        kinds.append("slice")
    kind = model.draw(st.sampled_from(kinds))
    if kind == "smooth":
        model.bind(f"{model.one_of(*SMOOTH)}({x.name})", x.axes)
    elif kind == "square":
        model.bind(f"square(tanh({x.name}))", x.axes)
    elif kind == "scale":
        model.bind(f"{x.name} {model.one_of('* 0.5', '/ 3', '- 0.25', '+ 2')}", x.axes)
    elif kind == "bias":
        model.bind(f"{model.one_of('2 -', '0.5 *', '-')} {x.name}", x.axes)
    elif kind == "weigh":
        sizes = [size for _, size in x.axes][model.draw(st.integers(0, len(x.axes) - 1)) :]
        model.bind(f"{x.name} {model.one_of('*', '+', '-')} {model.weight(*sizes)}", x.axes)
    elif kind == "dense":
        layer = model.one_of(
            "dense({}, 3)", "dense({}, 2, bias = false)", "mlp({}, [3, 2], activation = tanh)"
        )
        assert isinstance(layer, str)
        model.bind(layer.format(x.name), (*x.axes[:-1], ("", 3 if layer.endswith("3)") else 2)))
    elif kind == "matmul":
        model.bind(f"{x.name} @ {model.weight(last, 2)}", (*x.axes[:-1], ("", 2)))
    elif kind in ("shift", "like"):
        other = model.draw(st.sampled_from(model.like(x)))
        model.bind(f"{x.name} {model.one_of('+', '-', '*')} tanh({other.name})", x.axes)
    elif kind == "gate":
        model.bind(f"{x.name} * sigmoid(dense({x.name}, {last}))", x.axes)
    elif kind == "drop":
        model.bind(f"dropout({x.name}, 0.3)", x.axes)
    elif kind in ("batch", "layer"):
        model.bind(f"{kind}_norm({x.name}, epsilon = 0.1)", x.axes)
    elif kind == "softmax":
        model.bind(f"softmax({x.name})", x.axes)
    elif kind == "flatten":
        model.bind(f"flatten({x.name})", (("", x.size),))
    elif kind == "reshape":
        divisors = [n for n in range(1, last + 1) if last % n == 0]
        rows = model.draw(st.sampled_from(divisors))
        model.bind(f"reshape({x.name}, {rows}, {last // rows})", (("", rows), ("", last // rows)))
    elif kind == "reduce":
        op = model.one_of("sum", "mean", "max")
        model.bind(f"{op}({_apart(model, x) if op == 'max' else x.name})", (("", 1),))
    elif kind in ("named", "rename", "slice"):
        _along(model, x, kind)
    else:
        turned = (x.axes[-1], *x.axes[:-1])
        order = ", ".join(str(size) for _, size in turned)
        model.bind(f"reshape({x.name}, {order})", tuple(("", size) for _, size in turned))


def _along(model: _Model, x: Value, kind: str) -> None:
    """Along an axis with a name, if there is one."""
    if not x.named:
        model.bind(f"sum({x.name})", (("", 1),))
        return
    at, name = model.draw(st.sampled_from(x.named))
    before, after = x.axes[:at], x.axes[at + 1 :]
    if kind == "named":
        op = model.one_of("sum", "mean", "max")
        text = _apart(model, x) if op == "max" else x.name
        model.bind(f"{op}({text}, axis = {name})", (*before, *after) or (("", 1),))
    elif kind == "rename":
        new = f"a{len(model.lines)}"
        model.bind(f"rename({x.name}, {name}, to = {new})", (*before, (new, x.axes[at][1]), *after))
    else:
        size = x.axes[at][1]
        first = model.draw(st.integers(0, size - 1))
        stop = model.draw(st.integers(first + 1, size))
        model.bind(f"slice({x.name}, {name}, {first}, {stop})", (*before, (name, stop - first), *after))


def _apart(model: _Model, x: Value) -> str:
    """The value with no two elements equal: equal ones may share the gradient of a `max` otherwise."""
    return f"tanh({x.name}) + {model.weight(*(size for _, size in x.axes))}"


def _output(model: _Model, counts: dict[str, int]) -> str:
    """A number a row, of some of the values."""
    last = model.values[-1]
    some = model.draw(st.lists(st.sampled_from(model.values), min_size=1, max_size=2))
    terms = []
    for value in (last, *some):
        flat = value.name if len(value.axes) == 1 else f"flatten({value.name})"
        terms.append(
            str(model.one_of(f"dense({flat}, 1)", f"mean({value.name})", f"tanh(mean({value.name}))"))
        )
    if model.chance(3):
        every = " + ".join(f"{name}.features" for name in counts)
        terms.append(str(model.one_of(*LIBRARY)).format(all=every))
    return " + ".join(terms)


def _penalty(model: _Model) -> str:
    if not model.learning or model.chance(2):
        return ""
    rows = model.one_of("", ", rows = all")
    return f" + {model.one_of('l1', 'l2')}(0.01, {model.one_of(*model.learning)}{rows})"


def _extra(model: _Model) -> str:
    return str(
        model.one_of(
            "", "\n  optimizer adagrad(lr = 0.05) for *.kernel", "\n  optimizer sgd(lr = 0.1) for w*, z0.*",
            "\n  clip_norm 0.1", "\n  clip_value 0.1",
        )
    )  # fmt: skip
