"""`vflc verify` as a user runs it, in this process."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.data.generate import generate
from vflc_runtime.events import silent
from vflc_runtime.run import loading
from vflc_runtime.verify import Comparison, VerifySettings, Way
from vflc_runtime.verify import verify as compared

from vflc.cli.main import run
from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.ops import OPS

ROOT = Path(__file__).parents[2]
KERAS = importlib.util.find_spec("tensorflow") is not None


def pairs(kinds: int = 2) -> int:
    """How many pairs are compared of so many kinds of ways by each engine, and by Keras's own optimizers.

    The kinds are `split`, `unsplit` and, for one table, `written`.
    """
    ways = kinds * (2 if KERAS else 1)
    return ways * (ways - 1) // 2 + KERAS


SMALL = """
party alice {
  key ID
  feature user: int -> index(7)
  feature age:  float
}
party bob {
  key ID
  feature item: string -> hash(9)
  column  stars: float
  label   liked = stars > 3
}
a = dense(flatten(embed(alice.features, dim = 3)), 4, activation = tanh)
b = dense(embed(bob.item, dim = 3), 4, activation = relu)
fuse at bob {
  logit = dense(a + b, 1)
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { optimizer adam(lr = 0.01)
 batch 16 }
release alice { to bob: user, age }
release bob { to alice: item, liked }
"""
"""Two parties; the one place with a tanh is alice's."""
ALONE = """
party bob {
  key ID
  feature user: int -> index(7)
  feature age:  float
  feature item: string -> hash(9)
  column  stars: float
  label   liked = stars > 3
}
a = dense(flatten(embed([bob.user, bob.age], dim = 3)), 4, activation = tanh)
b = dense(embed(bob.item, dim = 3), 4, activation = relu)
logit = dense(a + b, 1)
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { optimizer adam(lr = 0.01)
 batch 16 }
"""
"""The same of one party: half as many graphs for Keras to build, where only the updates matter."""
LEAST = """
party bob {
  key ID
  feature item: string -> hash(9)
  column  stars: float
  label   liked = stars > 3
}
logit = dense(embed(bob.item, dim = 3), 1)
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
train { optimizer adam(lr = 0.01)
 batch 16 }
"""
"""A table and a layer, where all that matters is that there is one."""


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str

    @property
    def found(self) -> dict[str, Any]:
        """What `--json` printed."""
        parsed: dict[str, Any] = json.loads(self.stdout)
        return parsed


def verify(spec: Path | str, *arguments: str) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["verify", str(spec), *arguments])
    return Ended(code, out.getvalue(), err.getvalue())


def agreed(spec: Path | str, *arguments: str) -> dict[str, Any]:
    """Verifies, fails with the worst differences where the ways disagree, and returns what was found."""
    ended = verify(spec, "--json", *arguments)
    assert ended.code in (0, 1), ended.stderr
    assert ended.code == 0, worst(ended.found)
    return ended.found


def crosswise(
    text: str, folder: Path, keras: bool = KERAS, steps: int = 4, rows: int = 32, batch: int = 8
) -> list[Comparison]:
    """Unsplit by onnx, split by onnx and split by Keras, in float64: every pair of them, compared.

    Of the ways of `vflc verify` those that differ in all that a way can differ in.
    """
    ways: list[Way] = []
    for name, engines in (("unsplit", ("onnx",)), ("split", ("onnx", "keras") if keras else ("onnx",))):
        made = compile_source(
            SourceText("spec.vfl", text), precision="float64", unsplit=name == "unsplit", backends=engines,
            protections=False,
        )  # fmt: skip
        made.write(folder / name)
        ways += [Way(f"{name} {engine}", open_bundle(folder / name, engine=engine)) for engine in engines]
    bundle = ways[0].bundle
    sources = generate(loading.encoders(bundle), rows, 0)
    data = loading.load_training(bundle, sources, {"seed": 0, "validation": 0.0, "fold": 0}, None, silent)
    return compared(ways, data, VerifySettings(steps, batch, 0, 1)).comparisons


def worst(found: dict[str, Any]) -> dict[str, Any]:
    """Of each precision the differences that are beyond its limit."""
    return {
        precision: [
            (pair["ways"], difference)
            for pair in entry["pairs"]
            for difference in pair["worst"].values()
            if difference and not (difference["measure"] or 0) <= pair["limit"]
        ]
        for precision, entry in found["precisions"].items()
    }


def wrong_tanh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes our gradient of tanh, not TensorFlow's, too large by a thousandth."""
    right = OPS["tanh"].vjp
    assert right is not None

    def wrong(b: Any, node: Any, inputs: Sequence[Any], g: Any) -> Any:
        (gradient,) = right(b, node, inputs, g)
        return (b.op("mul", gradient, b.constant(1.001)),)

    monkeypatch.setitem(OPS, "tanh", replace(OPS["tanh"], vjp=wrong))
