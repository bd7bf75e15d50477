"""Recurrent layers, convolutions and attention in whole models, and the library's models made of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from granting import granted
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from vflc_runtime.run.session import Session

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

PARTIES = """party alice {
  key ID
  feature scan: vector(36)
  feature age:  float
}
party bob {
  key ID
  feature past: string -> split(" ") -> hash(20) -> sequence(max = 4)
  feature item: int -> index(20)
  column  target: float
  label   y = target > 0
}
t     = table(20, 4, scale = 0.5)
h     = lookup(t, bob.past)
there = present(bob.past)
image = reshape(alice.scan, 6, 6, 1)
"""
END = "predict y = sigmoid(logit)\nobjective bce(logit, bob.y)\ntrain { optimizer sgd(lr = 0.1) }\n"
BODIES = {
    "gru": "g = gru(h, 3, mask = there)\nlogit = dense(concat(g, alice.age), 1)",
    "gru of both": "logit = dense(gru(h * dense(alice.age, 4), 3, mask = there), 1)",
    "gru of one step": "logit = dense(gru(slice(h, value, 0, 1), 3), 1) + dense(alice.age, 1)",
    "lstm": "s = lstm(h, 3, mask = there, return_sequences = true)\n"
    "logit = dense(concat(lstm(s, 2, mask = there), alice.age), 1)",
    "conv1d": "c = conv1d(h, 3, size = 2, padding = causal, activation = prelu)\n"
    "p = average_pool1d(c, size = 3, stride = 1, padding = same)\n"
    "logit = dense(flatten(p), 1) + dense(alice.age, 1)",
    "conv2d": "c = conv2d(image, 3, size = 3, padding = same, activation = swish)\n"
    "p = max_pool2d(c, size = [2, 3])\nlogit = dense(concat(flatten(p), embed(bob.item, dim = 2)), 1)",
    "attention": "m = multi_head_attention(h, h, 2, mask = there, causal = true, dropout = 0.1)\n"
    "logit = dense(concat(flatten(m), alice.age), 1)",
}
ROUND = 1e-9


def rows(count: int, seed: int) -> dict[str, Any]:
    """Encoded rows of which some have no history at all."""
    random = np.random.default_rng(seed)
    past = random.integers(0, 20, (count, 4))
    past[np.arange(4) >= random.integers(0, 5, count)[:, None]] = -1
    past[0] = -1
    return {
        "alice.scan": random.normal(size=(count, 36)), "alice.age": random.normal(size=(count, 1)),
        "bob.past": past.astype(np.int32), "bob.item": random.integers(0, 20, count).astype(np.int32),
        "bob.y": random.integers(0, 2, (count, 1)).astype(np.float64),
    }  # fmt: skip


def session(body: str, folder: Path, head: str = "", **options: Any) -> Session:
    text = granted(head + PARTIES + body + "\n" + END)
    bundle = compile_source(SourceText("spec.vfl", text), precision="float64", **options)
    bundle.write(folder)
    return Session(folder, seed=3, threads=1)


@pytest.mark.parametrize("name", BODIES)
def test_split_is_unsplit(name: str, tmp_path: Path) -> None:
    split = session(BODIES[name], tmp_path / "split")
    whole = session(BODIES[name], tmp_path / "whole", unsplit=True)
    for seed, count in enumerate((9, 9, 1)):
        batch = rows(count, seed)
        assert abs(split.step(batch).loss - whole.step(batch).loss) < ROUND
    ours, theirs = split.weights(), whole.weights()
    assert ours.keys() == theirs.keys()
    assert max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) < ROUND


def test_gradients_of_steps_are_put_side_by_side(tmp_path: Path) -> None:
    """Padded to the whole sequence and added up, they would cost the square of its length."""
    session(BODIES["lstm"], tmp_path, unsplit=True)
    (graph,) = (onnx.load(path).graph for path in tmp_path.rglob("backward.onnx"))
    found = Counter(node.op_type for node in graph.node)
    assert found["Sigmoid"] >= 8
    assert found["Pad"] == 2, "of each LSTM one: the first step has nothing to forget"


def test_windows_of_raw_columns_are_raw() -> None:
    body = "x = max_pool2d(image)\nlogit = dense(flatten(x * dense(embed(bob.item, dim = 2), 1)), 1) at bob"
    with pytest.raises(Refused) as refused:
        compile_source(SourceText("spec.vfl", f"{PARTIES}{body}\n{END}"))
    assert {found.code for found in refused.value.diagnostics} == {"VFL0301"}


def test_mistakes_are_said() -> None:
    def said(body: str) -> str:
        with pytest.raises(Refused) as refused:
            compile_source(SourceText("spec.vfl", f"{PARTIES}z = {body}\nlogit = sum(z)\n{END}"))
        found = [d for d in refused.value.diagnostics if not d.code.startswith("VFL03")]
        assert all(each.help for each in found)
        return "; ".join(f"{each.code} {each.message}" for each in found)

    assert said("gru(lookup(t, bob.item), 3)") == "VFL0201 gru of [4]"
    assert said("gru(h, 3, mask = alice.age)") == "VFL0201 mask [1] for a sequence [value 4, 4]"
    assert "does not fit into 4 values" in said("conv1d(h, 3, size = 9)")
    assert said("conv2d(h, 3, size = 2)").startswith("VFL0201 conv2d of")
    assert said("max_pool1d(h, padding = causal)") == "VFL0106 there is no padding `causal`"
    assert said("conv2d(image, 3, size = [2, 2, 2])") == "VFL0205 `size` is [2, 2, 2]"
    assert said("conv1d(h, 3, size = 2, stride = 2, dilation = 2)").startswith("VFL0205")
    assert said("multi_head_attention(h, t, 2)").startswith("VFL0201 multi_head_attention of")
    assert said("conv2d(reshape(embed(bob.item, dim = 1000000), 1000, 1000, 1), 1, size = 3)").startswith(
        "VFL0205 conv2d: the windows of a row read 9,000,000 elements"
    )


# --- the library's, written out ------------------------------------------------------------------------


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gru(w: dict[str, Any], name: str, x: Any, update: Any) -> Any:
    """All states of a row's GRU, whose updates are scaled; where that is 0, a state stays as it was."""
    kernel, recurrent, bias = (w[f"{name}.{part}"] for part in ("kernel", "recurrent_kernel", "bias"))
    units, state, states = len(recurrent), np.zeros(len(recurrent)), []
    for now, share in zip(x, update, strict=True):
        i, s = now @ kernel + bias[0], state @ recurrent + bias[1]
        gate = sigmoid(i[: 2 * units] + s[: 2 * units])
        new = np.tanh(i[2 * units :] + gate[units:] * s[2 * units :])
        state = state + share * (1 - gate[:units]) * (new - state)
        states.append(state)
    return np.array(states)


def norm(w: dict[str, Any], name: str, x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
    return scaled * w[f"{name}.gamma"] + w[f"{name}.beta"]


def changed(session: Session, seed: int = 5) -> dict[str, Any]:
    """Weights of any numbers, by their names; biases start at zero, and would show nothing."""
    random, made = np.random.default_rng(seed), {}
    for engine in session.engines.values():
        fresh = {name: random.normal(0, 0.4, each.shape) for name, each in engine.weights().items()}
        engine.load(fresh)
        made |= fresh
    return made


def predicted(block: str, use: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any], Any]:
    made = session(f"logit = {use}", folder, f"use recsys.{{{block}}}\n")
    weights, given = changed(made), rows(6, 1)
    return weights, given, made.predict(given)["y"][:, 0]


def test_dien_is_two_grus_of_which_the_second_goes_by_relevance(tmp_path: Path) -> None:
    use = "DIEN(bob.past, bob.item, t, [alice.age], k = 3, units = [5])"
    w, given, y = predicted("DIEN", use, tmp_path)
    dense = next(name for name in w if name.endswith("dense.kernel") and w[name].shape == (4, 4))
    second, first = sorted(
        (name.rsplit(".", 1)[0] for name in w if name.endswith("recurrent_kernel")),
        key=lambda n: "states" in n,
    )
    for row in range(6):
        ids, c = given["bob.past"][row], w["t"][given["bob.item"][row]]
        there = (ids >= 0).astype(float)
        h = w["t"][ids] * there[:, None]
        states = gru(w, first, h, there)
        score = np.where(there > 0, states @ (c @ w[dense]), -1e9)
        interest = gru(w, second, states, there * softmax(score))[-1]
        age = given["alice.age"][row] * next(w[name] for name in w if name.endswith("age"))
        x = np.concatenate([interest, c, age])
        for kernel in sorted(
            (n for n in w if n.endswith("kernel") and w[n].shape[0] in (11, 5)), reverse=True
        ):
            x = np.maximum(x @ w[kernel] + w[kernel.replace("kernel", "bias")], 0) if len(x) == 11 else (
                x @ w[kernel] + w[kernel.replace("kernel", "bias")]
            )  # fmt: skip
        np.testing.assert_allclose(y[row], sigmoid(x[0]), rtol=1e-9)


def test_sasrec_is_causal_attention_whose_last_state_meets_the_candidate(tmp_path: Path) -> None:
    w, given, y = predicted("SASRec", "SASRec(bob.past, bob.item, t, blocks = 1)", tmp_path)
    norms = [name.rsplit(".", 1)[0] for name in w if name.endswith("gamma")]
    heads = next(name for name in w if name.endswith("query.kernel")).removesuffix("query.kernel")
    dense = [name.rsplit(".", 1)[0] for name in w if ".dense" in name and name.endswith(".kernel")]
    vectors = next(name for name in w if name.endswith("vectors"))

    def projected(x: Any, part: str) -> Any:
        return np.einsum("nd,dhk->hnk", x, w[f"{heads}{part}.kernel"]) + w[f"{heads}{part}.bias"][:, None]

    for row in range(6):
        ids = given["bob.past"][row]
        there = (ids >= 0).astype(float)
        x = (2 * w["t"][ids] * there[:, None] + w[vectors]) * there[:, None]
        q = norm(w, norms[0], x)
        scores = projected(q, "query") @ projected(x, "key").transpose(0, 2, 1) / 2
        seen = np.tril(np.ones((4, 4))) * there > 0
        mixed = softmax(np.where(seen, scores, -1e9)) @ projected(x, "value")
        a = q + np.einsum("hnk,hkd->nd", mixed, w[f"{heads}output.kernel"]) + w[f"{heads}output.bias"]
        f = norm(w, norms[1], a)
        inner = np.maximum(f @ w[f"{dense[0]}.kernel"] + w[f"{dense[0]}.bias"], 0)
        last = norm(
            w, norms[2], (f + inner @ w[f"{dense[1]}.kernel"] + w[f"{dense[1]}.bias"]) * there[:, None]
        )
        state = last[int(there.sum()) - 1] if there.any() else np.zeros(4)
        np.testing.assert_allclose(y[row], sigmoid(state @ w["t"][given["bob.item"][row]]), rtol=1e-9)


def test_autoint_lets_fields_take_of_one_another(tmp_path: Path) -> None:
    use = "AutoInt([alice.age, bob.item], k = 4, layers = 1, heads = 2, dim = 3)"
    w, given, y = predicted("AutoInt", use, tmp_path)
    maps = [w[name] for name in w if w[name].shape == (4, 3)]
    (residual,) = (w[name] for name in w if w[name].shape == (4, 6))
    (end,) = (name for name in w if w[name].shape == (12, 1))
    age = next(w[name] for name in w if name.endswith("age"))
    item = next(w[name] for name in w if name.endswith("item"))
    for row in range(6):
        e = np.array([given["alice.age"][row] * age, item[given["bob.item"][row]]])
        q, k, v = (maps[i : i + 2] for i in (0, 2, 4))
        each = [softmax((e @ q[i]) @ (e @ k[i]).T / np.sqrt(3)) @ (e @ v[i]) for i in range(2)]
        x = np.maximum(np.concatenate(each, 1) + e @ residual, 0).reshape(-1)
        np.testing.assert_allclose(
            y[row], sigmoid((x @ w[end])[0] + w[end.replace("kernel", "bias")][0]), rtol=1e-9
        )


# --- what only these layers can learn ------------------------------------------------------------------


def trained(body: str, folder: Path, make: Any, steps: int, rate: float) -> float:
    """The AUC on new rows, where the label is 1 or 0."""
    text = granted(PARTIES + body + "\n" + END.replace("sgd(lr = 0.1)", f"adam(lr = {rate})"))
    compile_source(SourceText("spec.vfl", text)).write(folder)
    made = Session(folder, seed=3, threads=1)
    for seed in range(steps):
        made.step(make(64, seed))
    new = make(500, 9999)
    return float(roc_auc_score(new["bob.y"][:, 0], made.predict(new)["y"][:, 0]))


def in_order(count: int, seed: int) -> dict[str, Any]:
    """The label says whether 3 stands before 7 in the history, which has both, and two others."""
    random, given = np.random.default_rng(seed), rows(count, seed)
    given["bob.past"] = random.permuted(np.tile([3, 7, 11, 12], (count, 1)), axis=1).astype(np.int32)
    first, second = ((given["bob.past"] == item).argmax(1) for item in (3, 7))
    return _floats(given | {"bob.y": (first < second).reshape(-1, 1)})


def after_the_last(count: int, seed: int) -> dict[str, Any]:
    """The label says whether the item is of the kind, odd or even, of the last of a history that has both."""
    random, given = np.random.default_rng(seed), rows(count, seed)
    odd = random.permuted(np.tile([0, 0, 1, 1], (count, 1)), axis=1)
    given["bob.past"] = (2 * random.integers(0, 10, (count, 4)) + odd).astype(np.int32)
    y = given["bob.item"] % 2 == odd[:, 3]
    return _floats(given | {"bob.y": y.reshape(-1, 1)})


def somewhere(count: int, seed: int) -> dict[str, Any]:
    """The label says whether two bright points of a dark image lie side by side, wherever that is."""
    random, given = np.random.default_rng(seed), rows(count, seed)
    image, y = random.normal(0, 0.1, (count, 6, 6)), random.integers(0, 2, count)
    for each, beside in zip(image, y, strict=True):
        i, j = random.integers(0, 5, 2)
        each[i, j] += 1
        each[(i, j + 1) if beside else (i + 1, j)] += 1
    return _floats(given | {"alice.scan": image.reshape(count, 36), "bob.y": y.reshape(-1, 1)})


def _floats(given: dict[str, Any]) -> dict[str, Any]:
    return {name: v if v.dtype == np.int32 else v.astype(np.float32) for name, v in given.items()}


def linear(make: Any, column: str, depth: int = 0) -> float:
    """The AUC of scikit-learn's logistic regression on the same columns, of ids how often each occurs."""
    (x, y), (new, truth) = (
        (np.eye(depth)[batch[column]].sum(1) if depth else batch[column], batch["bob.y"][:, 0])
        for batch in (make(4000, 1), make(500, 9999))
    )
    return float(roc_auc_score(truth, LogisticRegression().fit(x, y).predict_proba(new)[:, 1]))


@pytest.mark.parametrize("layer", ["gru", "lstm"])
def test_recurrent_layers_learn_an_order(layer: str, tmp_path: Path) -> None:
    body = f"logit = dense({layer}(h, 8, mask = there), 1)"
    assert linear(in_order, "bob.past", 20) < 0.6
    assert trained(body, tmp_path, in_order, 120, 0.02) > 0.97


def test_convolutions_learn_a_shape_wherever_it_is(tmp_path: Path) -> None:
    body = "c = conv2d(image, 8, size = 2, activation = relu)\n"
    body += "logit = dense(flatten(max_pool2d(c, size = 5)), 1)"
    assert linear(somewhere, "alice.scan") < 0.75
    assert trained(body, tmp_path, somewhere, 250, 0.02) > 0.97


@pytest.mark.parametrize(
    ("use", "make"),
    [
        ("SASRec(bob.past, bob.item, t, blocks = 1)", after_the_last),
        ("DIEN(bob.past, bob.item, t, [alice.age], k = 4, units = [8])", in_order),
    ],
)
def test_models_of_histories_learn_an_order(use: str, make: Any, tmp_path: Path) -> None:
    body = f"use recsys.{{{use.partition('(')[0]}}}\nlogit = {use}"
    assert linear(make, "bob.past", 20) < 0.6
    assert trained(body, tmp_path, make, 250, 0.02) > 0.95
