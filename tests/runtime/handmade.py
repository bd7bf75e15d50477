"""Bundles made by hand, so that the runtime is tested without the compiler.

The model: alice has ids `u` and a number `x`, bob has sets of ids `m` and the label `y`.

    a.v   = table[u] + x * a.w                                  [B, 2] at alice, crosses to bob
    logit = (a.v + sum of b.table[m]) @ b.w + b.b               [B, 1] at bob
    loss  = mean bce(logit, y);  0.01 * sum(b.w ** 2) as a second term
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from onnx import TensorProto, helper, numpy_helper
from signing import sign

USERS, ITEMS, WIDTH = 50, 30, 2


class Writer:
    """Collects the nodes of an ONNX graph."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.float = TensorProto.FLOAT if precision == "float32" else TensorProto.DOUBLE
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def op(self, kind: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        name = to or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def cast(self, value: str) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node("Cast", [value], [name], to=self.float))
        return name

    def constant(self, value: Any, dtype: str | None = None) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype or self.precision), name))
        return name

    def save(self, file: Path, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]]) -> None:
        info = helper.make_tensor_value_info
        kinds = {name: TensorProto.INT32 if name in ("alice.u", "bob.m") else self.float for name in inputs}
        graph = helper.make_graph(
            self.nodes,
            file.stem,
            [info(name, kinds[name], shape) for name, shape in inputs.items()],
            [
                info(name, TensorProto.INT32 if name.endswith(".ids") else self.float, shape)
                for name, shape in outputs.items()
            ],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        file.write_bytes(model.SerializeToString())


def write_bundle(
    folder: Path,
    precision: str = "float32",
    split: bool = True,
    dropout: bool = False,
    rate: float = 0.5,
    **train: Any,
) -> Path:
    """Writes the bundle and returns its folder; `train` overrides the defaults of training."""
    places = ["alice", "bob"] if split else ["all"]
    for place in places:
        (folder / place).mkdir(parents=True)
        _graphs(folder / place, precision, dropout, rate)
    edges = [
        _edge("a.v", "alice", "bob", "forward", precision, ["train", "evaluate", "predict"]),
        _edge("gradient.a.v", "bob", "alice", "backward", precision, ["train"]),
    ]
    messages = [
        _message("alice>bob.forward", edges[0], ["train", "evaluate", "predict"]),
        _message("bob>alice.backward", edges[1], ["train"]),
    ]
    manifest = {
        "format": 1, "vflc": "0.1.0", "model": "handmade", "spec_sha256": "0" * 64, "precision": precision,
        "parties": [{"name": "alice", "key": "ID"}, {"name": "bob", "key": "ID"}],
        "places": places,
        "edges": edges if split else [],
        "messages": messages if split else [],
    }  # fmt: skip
    parties = {"alice": _alice(dropout), "bob": _bob()}
    for place in places:
        own = parties.values() if place == "all" else [parties[place]]
        plan = _plan(place, list(own), precision, train)
        write_json(folder / place / "plan.json", plan)
        encoders = {name: _ENCODERS[name] for name in plan["tables"]}
        write_json(folder / place / "encoders.json", {"parties": encoders})
    write_json(folder / "manifest.json", manifest)
    sign(folder)
    return folder


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content))


def _edge(
    id: str, sender: str, receiver: str, phase: str, precision: str, programs: list[str]
) -> dict[str, Any]:
    return {
        "id": id, "value": id, "from": sender, "to": receiver, "phase": phase, "shape": ["batch", WIDTH],
        "dtype": precision, "programs": programs,
    }  # fmt: skip


def _message(id: str, edge: dict[str, Any], programs: list[str]) -> dict[str, Any]:
    return {
        "id": id, "from": edge["from"], "to": edge["to"], "phase": edge["phase"], "programs": programs,
        "edges": [edge["id"]],
    }  # fmt: skip


def _alice(dropout: bool) -> dict[str, Any]:
    return {
        "place": "alice",
        "inputs": [_input("alice", "u", "int", [None]), _input("alice", "x", "float", [None, 1])],
        "weights": [
            _weight("a.table", [USERS, WIDTH], "tables.a", "uniform", 0.5),
            _weight("a.w", [1, WIDTH], "a.w", "glorot_uniform"),
        ],
        "arrays": [_array("tables.a", [USERS, WIDTH], True), _array("a.w", [1, WIDTH], False)],
        "randoms": [{"id": "a.random", "shape": [None, WIDTH]}] if dropout else [],
        "graphs": {
            "a.forward": (["alice.u", "alice.x", "tables.a", "a.w"] + ["a.random"] * dropout, ["a.v"]),
            "a.still": (["alice.u", "alice.x", "tables.a", "a.w"], ["a.v"]),
            "a.backward": (
                ["alice.x", "gradient.a.v"] + ["a.random"] * dropout, ["gradient.a.e", "gradient.dense.a"],
            ),
        },
        "updates": [
            {"id": "dense.a", "kind": "dense", "optimizer": "momentum", "gradient": "gradient.dense.a",
             "arrays": ["a.w"], "size": WIDTH},
            {"id": "rows.a", "kind": "rows", "optimizer": "momentum", "array": "tables.a",
             "reads": ["alice.u"], "gradients": [["alice.u", "gradient.a.e"]]},
        ],
        "programs": {
            "train": [_do("run", "a.forward"), _do("send", "alice>bob.forward"),
                      _do("receive", "bob>alice.backward"), _do("run", "a.backward"),
                      _do("update", "dense.a"), _do("update", "rows.a")],
            "evaluate": [_do("run", "a.still"), _do("send", "alice>bob.forward")],
            "predict": [_do("run", "a.still"), _do("send", "alice>bob.forward")],
        },
        "reports": {"train": {}, "evaluate": {}, "predict": {}},
        "metrics": [],
    }  # fmt: skip


def _bob() -> dict[str, Any]:
    report = {
        "losses": [{"name": "bce", "value": "loss", "coefficient": 1.0},
                   {"name": "l2", "value": "penalty", "coefficient": 0.01}],
        "predictions": [{"name": "y", "value": "prediction"}],
    }  # fmt: skip
    pair = {"prediction": "prediction", "label": "bob.y"}
    weights = ["tables.b", "b.w", "b.b"]
    return {
        "place": "bob",
        "inputs": [_input("bob", "m", "int", [None, None]),
                   _input("bob", "y", "float", [None, 1], label=True)],
        "weights": [
            _weight("b.first", [ITEMS - 10, WIDTH], "tables.b", "normal", 0.3),
            _weight("b.second", [10, WIDTH], "tables.b", "uniform", 0.3, offset=ITEMS - 10),
            _weight("b.w", [WIDTH, 1], "b.w", "glorot_uniform"),
            _weight("b.b", [1], "b.b", "zeros"),
            _weight("b.mean", [1], "b.mean", "zeros", trainable=False),
        ],
        "arrays": [_array("tables.b", [ITEMS, WIDTH], True), _array("b.w", [WIDTH, 1], False),
                   _array("b.b", [1], False), _array("b.mean", [1], False)],
        "randoms": [],
        "graphs": {
            "b.train": (["a.v", "bob.m", "bob.y", *weights, "b.mean"],
                        ["loss", "penalty", "prediction", "gradient.a.v", "gradient.b.e", "gradient.dense.b",
                         "new.mean"]),
            "b.evaluate": (["a.v", "bob.m", "bob.y", *weights], ["loss", "penalty", "prediction"]),
            "b.predict": (["a.v", "bob.m", *weights], ["prediction"]),
        },
        "updates": [
            {"id": "dense.b", "kind": "dense", "optimizer": "momentum", "gradient": "gradient.dense.b",
             "arrays": ["b.w", "b.b"], "size": WIDTH + 1},
            {"id": "rows.b", "kind": "rows", "optimizer": "momentum", "array": "tables.b",
             "reads": ["bob.m"], "gradients": [["bob.m", "gradient.b.e"]]},
        ],
        "programs": {
            "train": [_do("receive", "alice>bob.forward"), _do("run", "b.train"),
                      _do("send", "bob>alice.backward"), _do("update", "dense.b"), _do("update", "rows.b"),
                      _do("assign", "b.mean")],
            "evaluate": [_do("receive", "alice>bob.forward"), _do("run", "b.evaluate")],
            "predict": [_do("receive", "alice>bob.forward"), _do("run", "b.predict")],
        },
        "reports": {"train": report, "evaluate": report, "predict": {"predictions": report["predictions"]}},
        "metrics": [{"name": "y", "kind": "binary", "prediction": "prediction", "label": "bob.y",
                     "metrics": ["auc", "accuracy"], "programs": {"train": pair, "evaluate": pair}}],
    }  # fmt: skip


_TARGET = {"run": "graph", "send": "message", "receive": "message", "update": "update", "assign": "array"}


def _do(kind: str, target: str) -> dict[str, str]:
    return {"do": kind, _TARGET[kind]: target}


def _input(party: str, column: str, dtype: str, shape: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "id": f"{party}.{column}",
        "party": party,
        "column": column,
        "dtype": dtype,
        "shape": shape,
        **more,
    }


def _weight(
    name: str,
    shape: list[int],
    array: str,
    kind: str,
    scale: float = 0.0,
    offset: int = 0,
    trainable: bool = True,
) -> dict[str, Any]:
    init = {"kind": kind, "scale": scale}
    return {
        "name": name,
        "shape": shape,
        "init": init,
        "trainable": trainable,
        "array": array,
        "offset": offset,
    }


def _array(name: str, shape: list[int], table: bool) -> dict[str, Any]:
    return {"name": name, "shape": shape, "table": table}


def _plan(place: str, parts: list[dict[str, Any]], precision: str, train: dict[str, Any]) -> dict[str, Any]:
    programs = {name: [s for part in parts for s in part["programs"][name]] for name in parts[0]["programs"]}
    if len(parts) > 1:  # unsplit: bob's steps come between alice's forward and her backward, without messages
        forward, backward = parts[0]["programs"]["train"][:1], parts[0]["programs"]["train"][3:]
        programs["train"] = [*forward, *parts[1]["programs"]["train"], *backward]
        programs = {n: [s for s in p if s["do"] not in ("send", "receive")] for n, p in programs.items()}
    graphs = {
        name: {"file": f"{name}.onnx", "inputs": inputs, "outputs": outputs}
        for part in parts
        for name, (inputs, outputs) in part["graphs"].items()
    }
    graphs["momentum"] = {
        "file": "momentum.onnx",
        "inputs": ["weight", "gradient", "step", "m"], "outputs": ["new.weight", "new.m"],
    }  # fmt: skip
    joined = {
        key: [item for part in parts for item in part[key]]
        for key in ("inputs", "weights", "arrays", "randoms", "updates", "metrics")
    }
    return {
        "format": 1, "vflc": "0.1.0", "kind": "place", "model": "handmade", "place": place,
        "precision": precision, "tables": [part["place"] for part in parts], **joined, "graphs": graphs,
        "optimizers": [{"id": "momentum", "graph": "momentum", "slots": [{"name": "m", "init": 0.0}],
                        "catch_up": None, "clip_norm": train.get("clip_norm")}],
        "assigns": [{"array": "b.mean", "value": "new.mean"}] if "b.mean" in str(joined["arrays"]) else [],
        "programs": programs,
        "reports": parts[-1]["reports"],
        "train": {"batch": 16, "epochs": 2, "seed": 3, "validation": 0.2, "metrics": ["auc", "accuracy"],
                  "shuffle": True, "early_stopping": None, "best": False, "checkpoint_steps": None,
                  **{key: value for key, value in train.items() if key != "clip_norm"}},
    }  # fmt: skip


_ENCODERS: dict[str, Any] = {
    "alice": {"key": "ID", "columns": [
        {"name": "u", "kind": "feature", "type": "int", "encoders": [{"name": "index", "n": USERS}],
         "shape": "id", "rows": USERS},
        {"name": "x", "kind": "feature", "type": "float", "encoders": [{"name": "standardize", "mean": None,
         "std": None}], "shape": "number"}]},
    "bob": {"key": "ID", "columns": [
        {"name": "m", "kind": "feature", "type": "string", "encoders": [{"name": "split", "separator": " "},
         {"name": "vocab", "values": [f"m{i}" for i in range(ITEMS)], "default": None}], "shape": "ids",
         "rows": ITEMS},
        {"name": "score", "kind": "column", "type": "int"},
        {"name": "y", "kind": "label", "value": {"op": ">", "args": [{"column": "score"}, {"number": 3}]},
         "encoders": [], "shape": "number"}]},
}  # fmt: skip


def _graphs(folder: Path, precision: str, dropout: bool, rate: float) -> None:
    for train in (True, False):
        w = Writer(precision)
        mixed = w.op("Add", w.op("Gather", "tables.a", "alice.u"), w.op("Mul", "alice.x", "a.w"))
        inputs = {"alice.u": ["B"], "alice.x": ["B", 1], "tables.a": [USERS, WIDTH], "a.w": [1, WIDTH]}
        if train and dropout:
            mixed = w.op("Mul", mixed, _keep(w))
            inputs["a.random"] = ["B", WIDTH]
        w.op("Identity", mixed, to="a.v")
        w.save(folder / ("a.forward.onnx" if train else "a.still.onnx"), inputs, {"a.v": ["B", WIDTH]})
    w = Writer(precision)
    gradient = w.op("Mul", "gradient.a.v", _keep(w)) if dropout else "gradient.a.v"
    w.op("Identity", gradient, to="gradient.a.e")
    product = w.op("Mul", gradient, "alice.x")
    w.op("ReduceSum", product, w.constant([0], "int64"), to="gradient.dense.a", keepdims=0)
    inputs = {
        "alice.x": ["B", 1],
        "gradient.a.v": ["B", WIDTH],
        **({"a.random": ["B", WIDTH]} if dropout else {}),
    }
    w.save(folder / "a.backward.onnx", inputs, {"gradient.a.e": ["B", WIDTH], "gradient.dense.a": [WIDTH]})
    for program in ("train", "evaluate", "predict"):
        _bob_graph(folder / f"b.{program}.onnx", precision, program)
    w = Writer(precision)
    w.op("Add", w.op("Mul", "m", w.constant(0.9)), "gradient", to="new.m")
    scaled = w.op("Div", w.constant(rate), w.op("Sqrt", "step"))
    w.op("Sub", "weight", w.op("Mul", "new.m", scaled), to="new.weight")
    flat = {"weight": ["n"], "gradient": ["n"], "step": [], "m": ["n"]}
    w.save(folder / "momentum.onnx", flat, {"new.weight": ["n"], "new.m": ["n"]})


def _keep(w: Writer) -> str:
    kept = w.cast(w.op("GreaterOrEqual", "a.random", w.constant(0.25)))
    return w.op("Div", kept, w.constant(0.75))


def _bob_graph(file: Path, precision: str, program: str) -> None:
    w = Writer(precision)
    zero, axis = w.constant(0, "int32"), w.constant([1], "int64")
    valid = w.op("GreaterOrEqual", "bob.m", zero)
    rows = w.op("Gather", "tables.b", w.op("Max", "bob.m", zero))
    mask = w.op("Unsqueeze", w.cast(valid), w.constant([2], "int64"))
    joined = w.op("Add", "a.v", w.op("ReduceSum", w.op("Mul", rows, mask), axis, keepdims=0))
    logit = w.op("Add", w.op("MatMul", joined, "b.w"), "b.b")
    w.op("Sigmoid", logit, to="prediction")
    inputs: dict[str, list[Any]] = {
        "a.v": ["B", WIDTH], "bob.m": ["B", "L"], "tables.b": [ITEMS, WIDTH], "b.w": [WIDTH, 1], "b.b": [1],
    }  # fmt: skip
    outputs: dict[str, list[Any]] = {"prediction": ["B", 1]}
    if program != "predict":
        _losses(w, logit)
        inputs["bob.y"] = ["B", 1]
        outputs.update({"loss": [], "penalty": []})
    if program == "train":
        _gradients(w, joined, mask)
        inputs["b.mean"] = [1]
        outputs.update({
            "gradient.a.v": ["B", WIDTH], "gradient.b.e": ["B", "L", WIDTH], "gradient.dense.b": [WIDTH + 1],
            "new.mean": [1],
        })  # fmt: skip
        mean = w.op("ReduceMean", logit, w.constant([0], "int64"), keepdims=0)
        w.op("Add", w.op("Mul", "b.mean", w.constant(0.9)), mean, to="new.mean")
    w.save(file, inputs, outputs)


def _losses(w: Writer, logit: str) -> None:
    soft = w.op("Log", w.op("Add", w.constant(1.0), w.op("Exp", w.op("Neg", w.op("Abs", logit)))))
    each = w.op("Add", w.op("Sub", w.op("Relu", logit), w.op("Mul", logit, "bob.y")), soft)
    w.op("ReduceMean", each, to="loss", keepdims=0)
    w.op("ReduceSum", w.op("Mul", "b.w", "b.w"), to="penalty", keepdims=0)


def _gradients(w: Writer, joined: str, mask: str) -> None:
    count = w.cast(w.op("Size", "bob.y"))
    error = w.op("Div", w.op("Sub", "prediction", "bob.y"), count)
    w.op("MatMul", error, w.op("Transpose", "b.w", perm=[1, 0]), to="gradient.a.v")
    middle = w.op("Unsqueeze", "gradient.a.v", w.constant([1], "int64"))
    w.op("Mul", middle, mask, to="gradient.b.e")
    kernel = w.op("MatMul", w.op("Transpose", joined, perm=[1, 0]), error)
    kernel = w.op("Add", kernel, w.op("Mul", "b.w", w.constant(0.02)))
    flat = w.op("Reshape", kernel, w.constant([-1], "int64"))
    bias = w.op("ReduceSum", error, w.constant([0], "int64"), keepdims=0)
    w.op("Concat", flat, bias, to="gradient.dense.b", axis=0)


def batch(generator: np.random.Generator, rows: int, precision: str = "float32") -> dict[str, Any]:
    """One batch of random inputs."""
    sets = generator.integers(0, ITEMS, (rows, 3)).astype(np.int32)
    sets[generator.random((rows, 3)) < 0.3] = -1
    return {
        "alice.u": generator.integers(0, USERS, rows).astype(np.int32),
        "alice.x": generator.normal(size=(rows, 1)).astype(precision),
        "bob.m": sets,
        "bob.y": generator.integers(0, 2, (rows, 1)).astype(precision),
    }


def tables(rows: int = 200, seed: int = 0) -> dict[str, Any]:
    """Tables that fit the encoders, with a signal; some keys are at one party only."""
    generator = np.random.default_rng(seed)
    users = generator.integers(0, USERS, rows)
    number = generator.normal(5, 2, rows)
    sets = [generator.choice(ITEMS, size, replace=False) for size in generator.integers(0, 4, rows)]
    planted = np.array([sum(item % 5 - 2 for item in items) for items in sets]) + (users % 7 - 3) + number - 5
    score = np.where(planted + generator.normal(size=rows) > 0, 5, 1)
    alice = pa.table({"ID": [f"k{i}" for i in range(rows)], "u": users, "x": number})
    keys = [f"k{i}" for i in range(3, rows + 3)]
    later = [*range(3, rows), *range(3)]
    bob = pa.table({
        "ID": keys, "m": [" ".join(f"m{i}" for i in sets[row]) for row in later], "score": score[later],
    })  # fmt: skip
    return {"alice": alice, "bob": bob}
