"""A spec for every block of the library, over two parties, and rows whose labels can be learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from granting import granted

PARTIES = """
party alice {
  key ID
  feature user:   int -> index(12)
  feature age:    float
  feature liked:  string -> split(" ") -> hash(9)
}
party bob {
  key ID
  feature item:   int -> index(15)
  feature past:   string -> split(" ") -> hash(15) -> sequence(max = 6)
  feature price:  float
  column  target: float
  label   y = target > 0
  label   z = target > 1
}
both = alice.features + [bob.item, bob.price]
"""

SMALL = "k = 4, units = [8, 4]"
LOGITS = {
    "LinearRegression": "LinearRegression(both)",
    "LogisticRegression": "LogisticRegression(both)",
    "MLP": f"MLP(both, {SMALL}, dropout = 0.1)",
    "MF": "MF(u, t, bob.item)\nu = weight(4, scale = 0.5)\nt = table(15, 4, scale = 0.5)",
    "BiasedMF": "BiasedMF(u, l, t, ls, m, bob.item)\nu = weight(4, scale = 0.5)\nl = weight(1)\n"
    "t = table(15, 4, scale = 0.5)\nls = table(15, 1)\nm = weight(1)",
    "FM": "FM(both, k = 4)",
    "DeepFM": f"DeepFM(both, {SMALL})",
    "DeepFMTop": f"DeepFMTop([a, b], units = [8, 4])\na = DeepFMBottom(alice.features, {SMALL})\n"
    f"b = DeepFMBottom([bob.item, bob.price], {SMALL})",
    "WideDeep": f"WideDeep(both, [alice.user, bob.item], {SMALL})",
    "DCN": f"DCN(both, layers = 2, {SMALL})",
    "DCN stacked": f"DCN(both, layers = 2, {SMALL}, parallel = false)",
    "xDeepFM": f"xDeepFM(both, maps = [5, 3], {SMALL})",
    "xDeepFMTop": "xDeepFMTop(concat(a, b, axis = field), maps = [5], units = [8])\n"
    "a = embed(alice.features, dim = 4)\nb = embed([bob.item, bob.price], dim = 4)",
    "FiBiNET": f"FiBiNET(both, {SMALL})",
    "FiBiNETTop": "FiBiNETTop(concat(a, b, axis = field), units = [8])\n"
    "a = embed(alice.features, dim = 4)\nb = embed([bob.item, bob.price], dim = 4)",
    "PNN": f"PNN(both, {SMALL})",
    "AutoInt": "AutoInt(both, k = 4, layers = 2, dim = 3)",
    "AutoIntTop": "AutoIntTop(concat(a, b, axis = field), layers = 1, dim = 4)\n"
    "a = embed(alice.features, dim = 4)\nb = embed([bob.item, bob.price], dim = 4)",
    "TwoTower": f"TwoTower(alice.features, [bob.item, bob.price], {SMALL})",
    "TwoTower dot": f"TwoTower(alice.features, [bob.item], {SMALL}, cosine = false, temperature = 1)",
    "DIN": f"DIN(bob.past, bob.item, t, alice.features, {SMALL}, attention_units = [4])\nt = table(15, 4)",
    "DIEN": f"DIEN(bob.past, bob.item, t, alice.features, {SMALL})\nt = table(15, 4)",
    "SASRec": "SASRec(bob.past, bob.item, t, heads = 2, blocks = 1)\nt = table(15, 4, scale = 0.5)",
    "BST": f"BST(bob.past, bob.item, t, alice.features, {SMALL}, blocks = 2)\nt = table(15, 4)",
}
"""Of each block a use that gives one logit."""

CREDIT = {
    "Scorecard": "Scorecard(both)",
    "WoeScorecard": "WoeScorecard([alice.user, bob.item], bob.y)",
    "ScorecardTop": "ScorecardTop([a, b])\na = ScorecardBottom(alice.features)\n"
    "b = ScorecardBottom([bob.item, bob.price])",
    "Monotone": "Monotone([alice.age, -bob.price], x, units = [6, 4])\n"
    "x = flatten(embed([alice.user, bob.item], dim = 4))",
    "MonotoneTop": "MonotoneTop([a, b, c], units = [6, 4])\na = MonotoneBottom(alice.age, 6)\n"
    "b = MonotoneBottom(-bob.price, 6)\nc = dense(flatten(embed([alice.user, bob.item], dim = 4)), 6)",
}
"""The same of the library `credit`."""
LOGITS |= CREDIT
BOTTOMS = {name: f"{name.removesuffix('Top')}Bottom" for name in ("DeepFMTop", "ScorecardTop", "MonotoneTop")}
"""Of a block that joins parts, the one that makes them."""

EXPERTS = "k = 4, expert_units = [6, 4], tower_units = [4]"
TASKS = {
    "MMoE": f"MMoE(both, {EXPERTS})",
    "MMoETop": "MMoETop(concat(a, b), expert_units = [6, 4], tower_units = [4])\n"
    "a = dense(flatten(embed(alice.features, dim = 4)), 5)\nb = dense(embed(bob.item, dim = 4), 3)",
    "ESMM": f"[m.click, m.both]\nm = ESMM(both, {SMALL})",
    "ESMMTop": "[m.click, m.both]\nm = ESMMTop(concat(a, b), units = [8])\n"
    "a = dense(flatten(embed(alice.features, dim = 4)), 5)\nb = dense(embed(bob.item, dim = 4), 3)",
    "PLE": f"PLE(both, {EXPERTS})",
    "PLETop": "PLETop(x, levels = 1, expert_units = [6, 4], tower_units = [4])\n"
    "x = flatten(embed(both, dim = 3))",
}
"""Of each block a use that gives a list of two logits."""


def spec(name: str) -> str:
    """A whole spec that trains the block `name` (the first word of a key of `LOGITS` or `TASKS`)."""
    block = name.split()[0]
    halves = f", {BOTTOMS[block]}" if block in BOTTOMS else ""
    head = f"use {'credit' if block in CREDIT else 'recsys'}.{{{block}{halves}}}\n{PARTIES}"
    if name in TASKS:
        return granted(
            f"{head}out = {TASKS[name]}\npredict y = sigmoid(out[0])\npredict z = sigmoid(out[1])\n"
            "objective bce(out[0], bob.y) + 0.5 * bce(out[1], bob.z)\n"
            "train { optimizer adam(lr = 0.01)\n batch 64 }\n"
        )
    regression = block == "LinearRegression"
    loss = "mse" if regression else "bce"
    predicted = "logit" if regression else "sigmoid(logit)"
    return granted(
        f"{head}logit = {LOGITS[name]}\npredict y = {predicted}\nobjective {loss}(logit, bob.y)\n"
        "train { optimizer adam(lr = 0.01)\n batch 64 }\n"
    )


def rows(count: int, seed: int, dtype: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Encoded rows; the label follows user, item, whether the item is in the past, and the price."""
    world, random = np.random.default_rng(7), np.random.default_rng(seed)
    levels, tastes = world.normal(0, 1, (2, 15)), world.normal(0, 1, (12, 15))
    user, item = random.integers(0, 12, count), random.integers(0, 15, count)
    past = random.integers(0, 15, (count, 6))
    past[np.arange(6) >= random.integers(0, 7, count)[:, None]] = -1
    age, price = random.normal(size=(count, 1)), random.normal(size=(count, 1))
    liked = random.integers(-1, 9, (count, 3))
    score = levels[0, user] + levels[1, item] + tastes[user, item] - price[:, 0] + age[:, 0]
    score += 2.0 * (past == item[:, None]).any(1)
    inputs = {"alice.user": user, "alice.liked": liked, "bob.item": item, "bob.past": past}
    numbers = {"alice.age": age, "bob.price": price, "bob.y": score > 0, "bob.z": score > 1}
    return {
        **{name: value.astype(np.int32) for name, value in inputs.items()},
        **{name: value.reshape(-1, 1).astype(dtype) for name, value in numbers.items()},
    }
