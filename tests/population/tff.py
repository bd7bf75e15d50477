"""Federated reconstruction as TensorFlow Federated 0.87 does it, for a matrix factorization, in numpy.

Nothing here is vflc's. What is drawn at random comes from outside: first values, who takes part, and
the order of a user's examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Examples = list[tuple[int, float]]


@dataclass
class Tutorial:
    """The tutorial's settings: batches of 5, rates of the three optimizers."""

    batch: int = 5
    rebuild: float = 0.1
    client: float = 0.5
    server: float = 1.0


def batches(examples: Examples, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Items and ratings of batches."""
    parts = [examples[i : i + size] for i in range(0, len(examples), size)]
    return [(np.array([i for i, _ in part]), np.array([r for _, r in part])) for part in parts]


def rebuilt(items: np.ndarray, taste: np.ndarray, first: list, rate: float) -> np.ndarray:
    """A user's own vector after a step a batch, the items held fixed."""
    for at, ratings in first:
        error = items[at] @ taste - ratings
        taste = taste - rate * (2 / len(at)) * error @ items[at]
    return taste


def client_update(items: np.ndarray, taste: np.ndarray, examples: Examples, given: Tutorial) -> tuple:
    """A client's round: its change, its weight, the sum of squared errors before each step."""
    found = batches(examples, given.batch)
    taste, new, squares = rebuilt(items, taste, found[0::2], given.rebuild), items.copy(), 0.0
    for at, ratings in found[1::2]:
        error = new[at] @ taste - ratings
        gradient = np.zeros_like(new)
        np.add.at(gradient, at, (2 / len(at)) * np.outer(error, taste))
        squares, new = squares + error @ error, new - given.client * gradient
    change, weight = items - new, sum(len(at) for at, _ in found[1::2])
    if not np.isfinite(change).all():
        return np.zeros_like(change), 0, 0.0
    return change, weight, squares


def round_of(items: np.ndarray, clients: list[tuple[np.ndarray, Examples]], given: Tutorial) -> tuple:
    """The items after a round with clients (first own vector, examples), and the loss."""
    found = [client_update(items, taste, examples, given) for taste, examples in clients]
    weight = sum(w for _, w, _ in found)
    mean = sum(w * change for change, w, _ in found) / weight
    return items - given.server * mean, sum(s for _, _, s in found) / weight


def evaluated(items: np.ndarray, clients: list[tuple[np.ndarray, Examples]], given: Tutorial) -> tuple:
    """Mean squared error on the odd batches after rebuilding from the even ones; share of small errors."""
    errors: list[np.ndarray] = []
    for taste, examples in clients:
        found = batches(examples, given.batch)
        taste = rebuilt(items, taste, found[0::2], given.rebuild)
        errors += [items[at] @ taste - ratings for at, ratings in found[1::2]]
    every = np.concatenate(errors)
    return float(np.mean(every**2)), float(np.mean(np.abs(every) <= 0.5))
