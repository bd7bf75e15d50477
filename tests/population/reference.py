"""Federated reconstruction of a biased, regularised matrix factorization, one user at a time, in numpy.

It follows the definition to the letter and knows nothing of arrays of users; of the package it takes
random numbers only (a stream a user, cohorts, initial weights).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from granting import granted
from vflc_runtime.bundle.plan import Initializer
from vflc_runtime.engines.initial import generator, initial_value
from vflc_runtime.population import random

UNIFORM = Initializer("uniform", 0.05)
ITEMS, FACTORS = 30, 4

SPEC = f"""
population users {{
  key user
  feature item: int -> index({ITEMS})
  column  stars: float
  label   rating = stars
}}
party hub {{}}

global items  = table({ITEMS}, {FACTORS}) at hub
global levels = table({ITEMS}, 1) at hub
global mean   = weight(1) at hub
local  taste  = weight({FACTORS}) at users
local  level  = weight(1) at users

score = dot(taste, lookup(items, users.item)) + lookup(levels, users.item) + level + mean
predict rating = score
objective mse(score, users.rating) + l2(L2_LOCAL, taste, level) + l2(L2_GLOBAL, items, levels)

train reconstruct {{ SETTINGS }}
"""


def spec(settings: str, local: float = 0.0, shared: float = 0.0) -> str:
    text = SPEC.replace("SETTINGS", settings).replace("L2_LOCAL", str(local))
    return granted(text.replace("L2_GLOBAL", str(shared)))


@dataclass
class Sgd:
    lr: float
    momentum: float = 0.0
    kept: dict = field(default_factory=dict)

    def step(self, weights, name, gradient):
        velocity = self.momentum * self.kept.get(name, 0.0) - self.lr * gradient
        self.kept[name] = velocity
        weights[name] = weights[name] + velocity


@dataclass
class Adam:
    lr: float
    kept: dict = field(default_factory=dict)

    def step(self, weights, name, gradient):
        m, v, t = self.kept.get(name, (0.0, 0.0, 0))
        m, v, t = m + (gradient - m) * 0.1, v + (gradient**2 - v) * 0.001, t + 1
        self.kept[name] = m, v, t
        size = self.lr * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights[name] = weights[name] - m * size / (np.sqrt(v) + 1e-7)


@dataclass
class Adagrad:
    lr: float
    kept: dict = field(default_factory=dict)

    def step(self, weights, name, gradient):
        total = self.kept.get(name, 0.1) + gradient**2
        self.kept[name] = total
        weights[name] = weights[name] - self.lr * gradient / np.sqrt(total + 1e-7)


@dataclass
class Options:
    """The settings under test, with the defaults of the language."""

    cohort: int = 6
    batch: int = 3
    seed: int = 0
    limit: int | None = None
    halves: str = "examples"
    fraction: float = 0.5
    rebuild_epochs: int = 1
    rebuild_steps: int | None = None
    client_epochs: int = 1
    client_steps: int | None = None
    weighting: str = "examples"
    joint: bool = False
    keep_local: bool = False
    clip_norm: float | None = None
    rebuild: object = lambda: Sgd(0.1)
    client: object = lambda: Sgd(0.1)
    server: object = lambda: Sgd(1.0)
    l2_local: float = 0.0
    l2_global: float = 0.0


GLOBALS, LOCALS = ("items", "levels", "mean"), ("taste", "level")
SHAPES = {"items": (ITEMS, FACTORS), "levels": (ITEMS, 1), "mean": (1,), "taste": (FACTORS,), "level": (1,)}


class Reference:
    """Trains users given as {key: [(item, rating), …]}; cohorts are drawn from the keys in `train`."""

    def __init__(self, options: Options, users: dict[str, list[tuple[int, float]]], train: list[str]) -> None:
        self.o, self.users, self.train = options, users, train
        self.weights = {n: initial_value(options.seed, n, SHAPES[n], UNIFORM, "float64") for n in GLOBALS}
        self.server = options.server()
        self.kept: dict[str, dict] = {}

    def order(self, key: str) -> list[tuple[int, float]]:
        examples = self.users[key][: self.o.limit]
        stream = random.stream(random.user_words([key]), self.o.seed, "order")
        words = [int(random.at(stream, np.array([i]))[0]) for i in range(len(examples))]
        return [examples[i] for i in sorted(range(len(examples)), key=lambda i: (words[i], i))]

    def batches(self, examples):
        return [examples[i : i + self.o.batch] for i in range(0, len(examples), self.o.batch)]

    def halves(self, key: str):
        found = self.order(key)
        if self.o.halves == "same":
            return found, found
        if self.o.halves == "examples":
            return found[0::2], found[1::2]
        if self.o.halves == "batches":
            batches = self.batches(found)
            return [e for b in batches[0::2] for e in b], [e for b in batches[1::2] for e in b]
        cut = int(np.floor(len(found) * self.o.fraction))
        return found[:cut], found[cut:]

    def steps(self, examples, epochs, most):
        return (self.batches(examples) * epochs)[:most]

    def local(self, key: str, number: int) -> dict:
        if self.o.keep_local and key in self.kept:
            return dict(self.kept[key])
        number = 0 if self.o.keep_local and number >= 0 else number
        values = {}
        for name in LOCALS:
            stream = random.stream(random.user_words([key]), self.o.seed, "local", name, number)
            values[name] = random.initial_values(stream, SHAPES[name], UNIFORM, "float64")[0]
        return values

    def loss_and_gradients(self, weights, batch):
        gradients = {name: np.zeros(SHAPES[name]) for name in SHAPES}
        loss, n = 0.0, len(batch)
        for item, rating in batch:
            error = self.score(weights, item) - rating
            loss += error**2 / n
            slope = 2 * error / n
            gradients["taste"] += slope * weights["items"][item]
            gradients["items"][item] += slope * weights["taste"]
            gradients["levels"][item] += slope
            gradients["level"] += slope
            gradients["mean"] += slope
        for name in LOCALS:
            loss += self.o.l2_local / 2 * np.sum(weights[name] ** 2)
            gradients[name] += self.o.l2_local * weights[name]
        for item in {item for item, _ in batch}:
            for name in ("items", "levels"):
                loss += self.o.l2_global / 2 * np.sum(weights[name][item] ** 2)
                gradients[name][item] += self.o.l2_global * weights[name][item]
        return loss, gradients

    def score(self, weights, item) -> float:
        product = weights["taste"] @ weights["items"][item]
        return float(product + weights["levels"][item, 0] + weights["level"][0] + weights["mean"][0])

    def rebuild(self, key: str, number: int, examples):
        weights = {**{name: self.weights[name].copy() for name in GLOBALS}, **self.local(key, number)}
        optimizer = self.o.rebuild()
        for batch in self.steps(examples, self.o.rebuild_epochs, self.o.rebuild_steps):
            _, gradients = self.loss_and_gradients(weights, batch)
            for name in LOCALS:
                optimizer.step(weights, name, gradients[name])
        return weights

    def round(self, number: int) -> float:
        cohort = generator(self.o.seed, "cohort", number).choice(
            len(self.train), self.o.cohort, replace=False
        )
        total, counted, losses, examples = dict.fromkeys(GLOBALS, 0.0), 0.0, 0.0, 0
        for key in (self.train[i] for i in cohort):
            first, second = self.halves(key)
            weights = self.rebuild(key, number, first)
            optimizer = self.o.client()
            seen = []
            for batch in self.steps(second, self.o.client_epochs, self.o.client_steps):
                loss, gradients = self.loss_and_gradients(weights, batch)
                seen.append((loss, len(batch)))
                for name in GLOBALS + (LOCALS if self.o.joint else ()):
                    optimizer.step(weights, name, gradients[name])
            if self.o.keep_local:
                self.kept[key] = {name: weights[name] for name in LOCALS}
            if not first or not second:
                continue
            losses += sum(loss * n for loss, n in seen)
            examples += sum(n for _, n in seen)
            delta = {name: self.weights[name] - weights[name] for name in GLOBALS}
            norm = np.sqrt(sum(np.sum(d**2) for d in delta.values()))
            scale = min(1.0, self.o.clip_norm / norm) if self.o.clip_norm else 1.0
            weight = len(second) if self.o.weighting == "examples" else 1
            counted += weight
            for name in GLOBALS:
                total[name] = total[name] + weight * scale * delta[name]
        for name in GLOBALS:
            self.server.step(self.weights, name, total[name] / counted)
        return losses / examples

    def evaluate(self, keys: list[str]) -> float:
        losses, examples = 0.0, 0
        for key in keys:
            first, second = self.halves(key)
            if not first or not second:
                continue
            weights = self.rebuild(key, -1, first)
            for batch in self.batches(second):
                losses += self.loss_and_gradients(weights, batch)[0] * len(batch)
                examples += len(batch)
        return losses / examples
