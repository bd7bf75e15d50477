"""What repeats in a model is one block with uses: the same numbers, weights by name, and text to read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_testing import both, model, node, write

from vflc.importing.run import WrittenSpec, import_model, weights_of

ROWS = 7


class Net:
    """A model of named layers; of each value its width is known.

    Args:
        columns: the numbers of alice and of bob.
        ids: columns of ids, of which alice has the first half.
    """

    def __init__(self, columns: int = 3, ids: int = 0) -> None:
        self.rng = np.random.default_rng(4)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Any] = {}
        self.width: dict[str, int] = {}
        self.ids = [f"id{i + 1}" for i in range(ids)]
        self.given: dict[str, Any] = {name: ["int64"] for name in self.ids}
        for name in ("a", "b") if columns else ():
            self.given[name], self.width[name] = ["float", columns], columns

    def _made(self, op: str, reads: str, width: int, **attrs: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(op, reads, name, name=f"n{len(self.nodes)}", **attrs))
        self.width[name] = width
        return name

    def _weight(self, name: str, *shape: int, low: float = -1.0) -> str:
        if name not in self.weights:
            self.weights[name] = self.rng.uniform(low, 1.0, shape).astype("float32")
        return name

    def dense(self, x: str, name: str, units: int, activation: str = "") -> str:
        kernel = self._weight(f"{name}.weight", self.width[x], units)
        made = self._made("Gemm", f"{x} {kernel} {self._weight(f'{name}.bias', units)}", units)
        return self._made(activation, made, units) if activation else made

    def norm(self, x: str, name: str) -> str:
        n = self.width[x]
        parts = [self._weight(f"{name}.{part}", n) for part in ("weight", "bias", "running_mean")]
        parts.append(self._weight(f"{name}.running_var", n, low=0.5))
        return self._made("BatchNormalization", " ".join([x, *parts]), n)

    def embed(self, x: str, name: str, rows: int, dim: int) -> str:
        return self._made("Gather", f"{self._weight(f'{name}.weight', rows, dim)} {x}", dim)

    def op(self, op: str, *reads: str) -> str:
        return self._made(op, " ".join(reads), max(self.width[x] for x in reads))

    def join(self, *reads: str) -> str:
        return self._made("Concat", " ".join(reads), sum(self.width[x] for x in reads), axis=1)

    def spec(self, folder: Path, *outputs: str) -> WrittenSpec:
        """The imported model, which predicts what onnxruntime does, with the file's weights by name."""
        for at, x in enumerate(outputs):
            self.nodes.append(node("Gemm", f"{x} {self._weight(f'out{at}', self.width[x], 1)}", f"y{at}"))
        names = [f"y{at}" for at in range(len(outputs))]
        path = write(folder, model(self.given, names, self.nodes, self.weights))
        half = len(self.ids) // 2
        owners = {"alice": self.ids[:half], "bob": self.ids[half:]}
        table: dict[str, Any] = {name: self.rng.integers(0, 3, ROWS) for name in self.ids}
        for party, name in (("alice", "a"), ("bob", "b")):
            width = self.width.get(name, 0)
            columns = [name] if width == 1 else [f"{name}{i + 1}" for i in range(width)]
            owners[party] = [*owners[party], *columns]
            table |= {column: self.rng.normal(size=ROWS).astype("float32") for column in columns}
        labels = {"bob": [f"label{at}" for at in range(len(outputs))]}
        spec, found, wanted = both(path, owners, labels, table, folder)
        for mine, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(
                mine.reshape(theirs.shape), theirs, rtol=1e-5, atol=1e-5, err_msg=spec.text
            )
        held = weights_of(path, spec)
        assert held.keys() == spec.weights.keys()
        assert spec.text == import_model(path, owners, labels).text
        return spec


def lines(spec: WrittenSpec) -> str:
    """Blocks and bindings, with single blanks."""
    text = re.sub(r" +", " ", spec.text)
    blocks = "".join(re.findall(r"^block .*?^\}\n", text, re.MULTILINE | re.DOTALL))
    graph = re.findall(
        r"^\w+ = .*?(?=^\S)", text.partition("\npredict")[0] + "\n\nend", re.MULTILINE | re.DOTALL
    )
    return blocks + "".join(graph).strip()


def tower(net: Net, x: str, name: str, units: int, activation: str = "Relu") -> str:
    x = net.norm(net.dense(x, f"{name}.dense", units, activation), f"{name}.bn")
    return net.dense(x, f"{name}.out", 2)


def towers(net: Net) -> str:
    return net.op("Mul", tower(net, "a", "tower_user", 4), tower(net, "b", "tower_item", 5))


def test_two_towers(tmp_path: Path) -> None:
    net = Net()
    spec = net.spec(tmp_path, towers(net))
    assert (
        lines(spec)
        == """block Tower(x, units) {
 hidden = dense(x, units, activation = relu)
 bn = batch_norm(hidden, epsilon = 1e-05, momentum = 0.9)
 return dense(bn, 2)
}
user = Tower(concat(alice.features), units = 4)
item = Tower(concat(bob.features), units = 5)
out0 = dense(user * item, 1, bias = false)"""
    )
    assert {"user.hidden.dense.kernel", "item.bn.batch_norm.gamma", "user.dense.bias"} < spec.weights.keys()


def test_the_example_of_the_page(tmp_path: Path) -> None:
    net, ends = Net(columns=0, ids=2), []
    for party, name in zip(("user", "item"), net.ids, strict=True):
        e = net.embed(name, f"tower_{party}.e", 3, 8)
        ends.append(tower(net, e, f"tower_{party}", {"user": 64, "item": 32}[party]))
    spec = net.spec(tmp_path, net.op("Mul", *ends))
    page = (Path(__file__).resolve().parents[2] / "docs" / "importing.md").read_text("utf-8")
    wanted = page.partition("```vfl repeated\n")[2].partition("```")[0].replace("UserID", "id1")
    block, uses = re.sub(r" +", " ", wanted).replace("MovieID", "id2").split("\n\n")
    assert lines(spec).startswith(f"{block}\n{uses}")


def test_layers_that_read_one_another(tmp_path: Path) -> None:
    """Cross layers: the first gives its block one value for both parameters."""
    net = Net()
    x = first = net.dense(net.join("a", "b"), "first", 6)
    for at in range(3):
        x = net.op("Add", net.op("Mul", first, net.dense(x, f"cross.{at}", 6)), x)
    found = lines(net.spec(tmp_path, x))
    assert "block Cross(first, x) {\n hidden = dense(x, 6)\n return first * hidden + x\n}" in found
    assert "cross_0 = Cross(first, first)\ncross_1 = Cross(first, cross_0)\n" in found


def test_a_line_stays_a_line(tmp_path: Path) -> None:
    net = Net()
    x = net.join("a", "b")
    experts = []
    for at in range(3):
        inner = net.dense(x, f"experts.{at}.0", 4, "Relu")
        experts.append(net.dense(inner, f"experts.{at}.1", 2, "Relu"))
    found = lines(net.spec(tmp_path, net.op("Sum", *experts)))
    assert "block" not in found and "experts_1 = mlp(joined, [4, 2])\n" in found


def test_three_experts(tmp_path: Path) -> None:
    net = Net()
    x = net.join("a", "b")
    experts = [tower(net, x, f"experts.{at}", 3) for at in range(3)]
    found = lines(net.spec(tmp_path, net.op("Sum", *experts)))
    assert found.count("block ") == 1 and "block Expert(x) {" in found
    assert "expert_2 = Expert(joined)\nout0 = dense(expert_0 + expert_1 + expert_2" in found


def test_nothing_repeats(tmp_path: Path) -> None:
    net = Net()
    x = net.norm(net.dense(net.join("a", "b"), "deep", 4, "Relu"), "normed")
    assert "block" not in lines(net.spec(tmp_path, x))


def test_shared_weights_stay_shared(tmp_path: Path) -> None:
    """The same layers on two inputs: no weights of their own for a second use."""
    net = Net()
    x, y = (net.dense(v, f"own_{v}", 3) for v in ("a", "b"))

    def twin(x: str) -> str:
        return net.op("Relu", net.dense(net.op("Tanh", net.dense(x, "twin.0", 4)), "twin.1", 2))

    spec = net.spec(tmp_path, net.op("Mul", twin(x), twin(y)))
    assert len(spec.weights) == 4 + 4 + 1
    assert len([name for name in spec.weights if "twin" in name]) == 4


def test_a_structure_that_is_read_twice_is_one_use(tmp_path: Path) -> None:
    net = Net()
    x, y = tower(net, "a", "tower.user", 4), tower(net, "b", "tower.item", 4)
    found = lines(net.spec(tmp_path, net.join(net.op("Mul", x, y), net.op("Add", x, y))))
    assert found.count("Tower(") == 3 and "concat(user * item, user + item)" in found


def test_blocks_in_blocks(tmp_path: Path) -> None:
    net = Net()

    def deep(x: str, name: str) -> str:
        for at in range(3):
            inner = net.norm(net.dense(x, f"{name}.res.{at}.fc", 3, "Relu"), f"{name}.res.{at}.bn")
            x = net.op("Add", x, inner)
        return net.dense(net.op("Tanh", x), f"{name}.head", 2)

    spec = net.spec(tmp_path, net.op("Mul", deep("a", "user"), deep("b", "item")))
    found = lines(spec)
    assert found.count("block ") == 2 and found.count(" Res(") == 4  # the block, and three uses in the other
    assert "user = Tower(a)\n" in found and "item = Tower(b)\n" in found
    assert "user.res_1.bn.batch_norm.gamma" in spec.weights, sorted(spec.weights)


def test_uses_do_not_overlap(tmp_path: Path) -> None:
    """Each layer with the one before it is like the next with it: every layer is in one use."""
    net = Net()
    x = net.join("a", "b")
    for at in range(4):
        x = net.norm(net.op("Tanh", net.dense(x, f"step.{at}.fc", 6)), f"step.{at}.bn")
    found = lines(net.spec(tmp_path, x))
    assert found.count("block ") == 1 and re.findall(r"^step_\d", found, re.MULTILINE) == [
        f"step_{at}" for at in range(4)
    ]


def test_the_middle_is_read_outside(tmp_path: Path) -> None:
    """In one use, in all uses: what is read elsewhere is no inner value of a block."""
    for number, outside in enumerate((1, 2)):
        net, middles, ends = Net(), [], []
        for v in ("a", "b"):
            middle = net.norm(net.dense(v, f"part_{v}.dense", 4, "Relu"), f"part_{v}.bn")
            end = net.dense(net.norm(net.op("Tanh", middle), f"part_{v}.bn2"), f"part_{v}.end", 3)
            middles.append(middle)
            ends.append(end)
        (folder := tmp_path / str(number)).mkdir()
        net.spec(folder, net.join(*ends, *middles[:outside]))


def bottom(net: Net, x: str, name: str, units: int) -> list[str]:
    """What a party sends of itself: a value, its squares, and a network of it."""
    h = net.norm(net.dense(x, f"{name}.first", 4, "Relu"), f"{name}.bn")
    return [net.op("Tanh", h), net.op("Mul", h, h), net.dense(h, f"{name}.deep", units, "Relu")]


def test_a_block_with_several_results(tmp_path: Path) -> None:
    """All that a party's columns give the rest of the model is one record."""
    net = Net()
    (v, v2, deep), (w, w2, other) = bottom(net, "a", "user", 3), bottom(net, "b", "item", 2)
    total = net.op("Add", v, w)
    pairs = net.op("Sub", net.op("Mul", total, total), net.op("Add", v2, w2))
    spec = net.spec(tmp_path, net.join(pairs, deep, other))
    assert """block Bottom(x, units) {
 first = dense(x, 4, activation = relu)
 bn = batch_norm(first, epsilon = 1e-05, momentum = 0.9)
 deep = dense(bn, units, activation = relu)
 return {bn_tanh = tanh(bn), bn_mul = bn * bn, deep = deep}
}
user = Bottom(concat(alice.features), units = 3)
item = Bottom(concat(bob.features), units = 2)
total = user.bn_tanh + item.bn_tanh
""" in lines(spec), lines(spec)
    assert "user.deep.dense.kernel" in spec.weights


def test_uses_that_wait_for_each_other_are_no_uses(tmp_path: Path) -> None:
    """What each of two parts reads of the other cannot be computed by one use after the other."""
    net = Net()
    h = [net.norm(net.dense(v, f"first_{v}.fc", 3, "Relu"), f"first_{v}.bn") for v in ("a", "b")]
    both = [net.op("Mul", mine, net.op("Tanh", other)) for mine, other in zip(h, h[::-1], strict=True)]
    ends = [
        net.norm(net.op("Add", mine, net.dense(x, f"then_{v}.fc", 3)), f"then_{v}.bn")
        for v, mine, x in zip(("a", "b"), h, both, strict=True)
    ]
    net.spec(tmp_path, net.join(*ends))


def test_blocks_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Their names say no more than that both are layers, and each has a parameter of its own."""
    net = Net()
    x, y = net.dense("a", "first_a", 4), net.dense("b", "first_b", 4)
    for at, (units, activation) in enumerate(zip((3, 5, 4, 4), ("Relu", "Tanh", "Relu", ""), strict=True)):
        x = net.norm(net.op("Tanh", net.norm(net.dense(x, f"a.{at}.fc", units), f"a.{at}.bn")), f"a.{at}.bm")
        y = net.op("Mul", y, net.norm(net.dense(y, f"b.{at}.fc", 4, activation), f"b.{at}.bn"))
    found = lines(net.spec(tmp_path, net.join(x, y)))
    assert "block Layer(x, units)" in found and "block Layer_2(x, activation)" in found, found


def test_numbers_beside_embeddings(tmp_path: Path) -> None:
    """A number times weights, between embeddings, is one of the columns that are embedded."""
    net = Net(columns=1, ids=4)
    w = [net._weight(f"e.{name}.weight", 4) for name in ("a", "b")]
    scaled = [net._made("Mul", f"{name} {weight}", 4) for name, weight in zip(("a", "b"), w, strict=True)]
    parts = [net.embed(name, f"e.{name}", 3, 4) for name in net.ids]
    joined = net.join(parts[0], scaled[0], *parts[1:], scaled[1])
    spec = net.spec(tmp_path, net.dense(joined, "deep", 3, "Relu"))
    assert re.search(r"^e = embed\(", lines(spec), re.MULTILINE) and "weight(" not in lines(spec), spec.text
    assert {"e.a", "e.id4"} < spec.weights.keys()


def test_activations_that_differ(tmp_path: Path) -> None:
    net = Net()
    x, y = tower(net, "a", "tower_user", 4, "Relu"), tower(net, "b", "tower_item", 4, "Tanh")
    z = tower(net, net.join("a", "b"), "tower_both", 4, "")
    found = lines(net.spec(tmp_path, net.join(x, y, z)))
    assert "block Tower(x, activation) {\n hidden = dense(x, 4, activation = activation)" in found
    assert "activation = tanh)" in found and "activation = linear)" in found


def test_networks_of_fields(tmp_path: Path) -> None:
    """Eight columns, each with an embedding and layers of its own."""
    net = Net(columns=0, ids=8)
    parts = []
    for at, name in enumerate(net.ids):
        e = net.embed(name, f"fields.{at}.embedding", 3, 2)
        parts.append(net.norm(net.dense(e, f"fields.{at}.fc", 2, "Relu"), f"fields.{at}.bn"))
    spec = net.spec(tmp_path, net.join(*parts))
    assert lines(spec).count("block ") == 1 and lines(spec).count("= Field(") == 8
    assert "field_7.embedding.id8" in spec.weights, sorted(spec.weights)[:20]


WORDS = ("dense", "relu", "sum", "alice", "block", "return", "field", "x", "units", "Tower", "true", "at")


@pytest.mark.parametrize("kind", ["layers", "uses"])
def test_names_that_are_words_of_the_language(kind: str, tmp_path: Path) -> None:
    net, made = Net(), []
    for at, word in enumerate(WORDS):
        name = f"{word}.{at}" if kind == "layers" else f"tower_{word}"
        inner = net.norm(net.dense("a" if at % 2 else "b", f"{name}.{word}.x", 3, "Relu"), f"{name}.mean")
        made.append(net.dense(inner, f"{name}.dense", 2))
    net.spec(tmp_path, net.op("Sum", *made))


def _chain(net: Net, rng: Any, x: str, name: str, steps: list[str]) -> str:
    start = x
    for at, step in enumerate(steps):
        match step:
            case "dense":
                x = net.dense(x, f"{name}.fc{at}", net.width[start], rng.choice(["Relu", "Tanh", ""]))
            case "norm":
                x = net.norm(x, f"{name}.bn{at}")
            case "again":
                x = net.op("Mul", start, x)
            case _:
                x = net.op(step, x, start)
    return x


@pytest.mark.parametrize("seed", range(6))
def test_any_structure(seed: int, tmp_path: Path) -> None:
    """Whatever repeats, inside and after one another: the model predicts the same."""
    rng = np.random.default_rng(seed)
    net = Net()
    kinds: list[list[str]] = [
        [str(step) for step in rng.choice(["dense", "norm", "Add", "again", "dense"], rng.integers(2, 6))]
        for _ in range(2)
    ]
    ends = []
    for v in ("a", "b"):
        x = v
        for at in range(rng.integers(1, 4)):
            x = _chain(net, np.random.default_rng(seed), x, f"{v}.{at}", kinds[rng.integers(0, 2)])
        ends.append(x)
    net.spec(tmp_path, net.join(*ends))
