"""Specs that are written as if all tables lay in one, and what of them crosses."""

from __future__ import annotations

from typing import Any

from granting import granted

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.emit.bundle import Bundle

NAMES = ("alice", "bob", "carol", "dave", "erin")


def parties(count: int, ids: int = 2, numbers: int = 1) -> str:
    """Parties of as many features each; the last one has the label."""
    found = []
    for name in NAMES[:count]:
        columns = [f"feature c{i}: int -> index({5 + i})" for i in range(ids)]
        columns += [f"feature x{i}: float" for i in range(numbers)]
        if name == NAMES[count - 1]:
            columns += ["column target: float", "label y = target > 0"]
        found.append("\n  ".join((f"party {name} {{\n  key ID", *columns)) + "\n}")
    return "\n".join(found)


def everything(count: int) -> str:
    """All features of all parties, as one list."""
    return " + ".join(f"{name}.features" for name in NAMES[:count])


def one_table(model: str, count: int = 2, train: str = "optimizer sgd(lr = 0.1)", **columns: int) -> str:
    """A spec that binds `logit`; FEATURES stands for all features of all parties."""
    label = f"{NAMES[count - 1]}.y"
    text = f"{parties(count, **columns)}\n{model.replace('FEATURES', everything(count))}\n"
    return granted(
        f"use recsys\n{text}predict p = sigmoid(logit)\nobjective bce(logit, {label})\ntrain {{ {train} }}\n"
    )


def compiled(text: str, **options: Any) -> Bundle:
    return compile_source(SourceText("one.vfl", text), **options)


def floats(bundle: Bundle, phase: str = "forward") -> dict[str, int]:
    """Numbers a row that leave each place in training."""
    found: dict[str, int] = {}
    for edge in bundle.manifest["edges"]:
        if edge["phase"] == phase and "train" in edge["programs"]:
            size = 1
            for axis in edge["shape"]:
                size *= 1 if axis == "batch" else axis
            found[edge["from"]] = found.get(edge["from"], 0) + size
    return found
