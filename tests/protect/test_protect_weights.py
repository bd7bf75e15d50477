"""`dp_sgd`: each row's gradient clipped over all weights, noise on every number of the sum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from protecting import TWO, bundle, rows
from signing import sign
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts, calibrate
from vflc_runtime.run.session import Session
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import SourceText
from vflc.driver import check_source
from vflc.ops.protection import HAIR

HEAD = """
party alice {
  key ID
  feature x:    float
  feature y:    float
  feature city: int -> index(5)
  feature home: int -> index(5)
  feature tags: string -> split(" ") -> hash(4)
  column  owed: float
  label   debt = owed
  weight  heavy: float
}
party bob {
  key ID
  feature item:  float
  column  much:  float
  label   liked = much > 0
}
"""
TAIL = """
fuse at bob {
  logit = dense(tanh(concat(flatten(h), bob.item)), 1)
}
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)MORE
train { optimizer sgd(lr = 1.0)  batch 8 }
"""
BOTTOMS = {
    "dense": "h = dense(concat(alice.x, alice.y), 3)",
    "deep": "h = mlp(concat(alice.x, alice.y), [4, 3], activation = tanh)",
    "layer_norm": "h = layer_norm(dense(concat(alice.x, alice.y), 4))",
    "weights": "w = weight(2, 3)\nv = weight(3)\nh = (concat(alice.x, alice.y) @ w) * softplus(v) + v / 2",
    "norm": "w = weight(2, 3)\nh = concat(alice.x, alice.y) @ (w / sqrt(sum(w * w)))",
    "product": "w = weight(2, 4)\nv = weight(4, 3)\nh = concat(alice.x, alice.y) @ (w @ v)",
    "shared": "w = weight(2, 2)\nh = tanh(concat(alice.x, alice.y) @ w) @ w",
    "numbers": "h = embed([alice.x, alice.y], dim = 3)",
    "fields": "h = dense(embed([alice.x, alice.y], dim = 3), 2)",
    "table": "h = embed(alice.city, dim = 3)",
    "tables": "h = dense(embed([alice.city, alice.home, alice.tags], dim = 3), 2)",
    "one table": (
        "t = table(5, 3)\nh = sum(embed([alice.city, alice.home], dim = 3, table = t), axis = field)"
    ),
    "many ids": "h = dense(embed(alice.tags, dim = 3), 2)",
    "mean": "h = dense(embed(alice.tags, dim = 3, combiner = mean), 2)",
    "attention": (
        "q = dense(alice.x, 3)\nk = embed([alice.x, alice.y, alice.x], dim = 3)\nh = attention(q, k, k)"
    ),
    "gru": "h = gru(reshape(dense(concat(alice.x, alice.y), 4), 2, 2), 3)",
    "convolution": "h = flatten(conv1d(reshape(dense(alice.x, 6), 3, 2), 2, size = 2))",
}
PROTECT = "protect weights at alice with dp_sgd(clip = {clip}, noise = {noise})\n"


def text(bottom: str, more: str = "", protect: str = "") -> str:
    return f"{HEAD}{bottom}{TAIL.replace('MORE', more)}{protect}"


def batch(count: int, seed: int = 0) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    numbers = {name: draw.normal(size=(count, 1)) for name in ("alice.x", "alice.y", "bob.item")}
    return numbers | {
        "alice.city": (city := draw.integers(0, 5, count).astype(np.int32)),
        "alice.home": (city + draw.integers(1, 5, count).astype(np.int32)) % 5,
        "alice.tags": np.array([[0, 1, -1], [2, 1, 3], [1, -1, -1], [-1, -1, -1]] * count, np.int32)[:count],
        "bob.liked": draw.integers(0, 2, (count, 1)).astype(float),
        "alice.debt": draw.normal(size=(count, 1)),
        "alice.heavy": draw.uniform(0.5, 2.0, size=(count, 1)),
    }


class At:
    """A bundle at work, each time from its initial weights on, with noise that a test may choose."""

    def __init__(self, folder: Path, engine: str = "onnx", noise: Any = None) -> None:
        self.session = Session(open_bundle(folder, engine=engine), engine, 3, 1)
        self.start = {
            place: {name: np.array(weight) for name, weight in weights.items()}
            for place, weights in self.session.weights_by_place().items()
        }
        self.wanted = {name for plan in self.session.bundle.plans.values() for name in plan.inputs}
        if noise is not None:
            for guards in self.session.guards().values():
                guards._noise = noise

    def moved(self, inputs: dict[str, Any], at: str = "alice") -> dict[str, np.ndarray]:
        """By how much a step moves each weight at a place down: the gradient, as the rate is 1."""
        for place, weights in self.start.items():
            self.session.engines[place].load(weights)
        count = len(inputs["bob.liked"])
        self.session.prepare(Facts(count, count, count, 1))
        self.session.step({name: value for name, value in inputs.items() if name in self.wanted})
        after = self.session.weights_by_place()[at]
        return {name: before - after[name] for name, before in self.start[at].items()}


class Silent:
    """Noise that is none."""

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape)


def row(inputs: dict[str, Any], index: int) -> dict[str, Any]:
    return {name: value[index : index + 1] for name, value in inputs.items()}


def length(gradients: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum((g**2).sum() for g in gradients.values())))


@pytest.mark.parametrize(
    ("name", "engine"),
    [("layer_norm", "onnx"), ("tables", "onnx"), ("attention", "onnx"), ("tables", "keras")],
)
def test_the_sum_is_that_of_each_rows_clipped_gradient(name: str, engine: str, tmp_path: Path) -> None:
    """Each row's gradient by itself is what a batch of that row alone gives, without protection.

    `test_protect_rows` says so of the graphs of all `BOTTOMS`.
    """
    options: dict[str, Any] = {"precision": "float64", "backends": ("onnx", engine)[: 1 + (engine != "onnx")]}
    same_as_by_rows(text(BOTTOMS[name]), "alice", tmp_path, engine, **options)


@pytest.mark.parametrize("place", ["alice", "bob"])
def test_a_loss_at_the_place_itself_counts_in_units_of_a_row(place: str, tmp_path: Path) -> None:
    """The mean over the batch is taken where the weights are, and comes from bob besides."""
    more = " + mse(dense(tanh(h), 1), alice.debt, weight = alice.heavy)"
    same_as_by_rows(text(BOTTOMS["deep"], more), place, tmp_path, "onnx", precision="float64")


def same_as_by_rows(spec: str, place: str, folder: Path, engine: str, **options: Any) -> None:
    plain = At(bundle(spec, folder / "plain", **options), engine)
    inputs = batch(8)
    each = [plain.moved(row(inputs, index), place) for index in range(8)]
    lengths = sorted(map(length, each))
    clip = (lengths[3] + lengths[4]) / 2
    assert lengths[3] < clip < lengths[4], "half of the rows are clipped"
    protect = PROTECT.format(clip=clip, noise=1.0).replace("alice", place)
    found = At(bundle(spec + protect, folder / "b", **options), engine, Silent()).moved(inputs, place)
    for weight, gradient in found.items():
        wanted = sum(g[weight] * min(1, clip * HAIR / max(length(g), 1e-12)) for g in each) / 8
        assert gradient == pytest.approx(wanted, rel=1e-6, abs=1e-12), weight


@pytest.mark.parametrize("name", ["one table", "many ids"])
def test_an_id_that_a_row_names_twice_is_clipped_at_the_latest_where_its_parts_add_up(
    name: str, tmp_path: Path
) -> None:
    inputs = batch(8)
    inputs["alice.home"] = inputs["alice.city"]
    inputs["alice.tags"] = np.array([[0, 0, 0], [2, 1, 1]] * 4, np.int32)
    plain = At(bundle(text(BOTTOMS[name]), tmp_path / "plain", precision="float64"))
    each = [plain.moved(row(inputs, index)) for index in range(8)]
    clip = min(map(length, each)) / 2
    protect = PROTECT.format(clip=clip, noise=1.0)
    at = At(bundle(text(BOTTOMS[name], protect=protect), tmp_path / "b", precision="float64"), noise=Silent())
    for index, alone in enumerate(each):
        found = at.moved(row(inputs, index))
        assert length(found) == pytest.approx(clip * HAIR, rel=1e-9), "both parts have one direction here"
        for weight, gradient in found.items():
            assert gradient == pytest.approx(alone[weight] * clip * HAIR / length(alone), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", ["deep", "tables"])
def test_a_row_of_any_size_moves_the_sum_by_the_clip_at_most(name: str, tmp_path: Path) -> None:
    """The row's numbers are a million times too large, and the sum before noise moves by C and no more."""
    clip, count = 0.01, 8
    protect = PROTECT.format(clip=clip, noise=1.0)
    at = At(bundle(text(BOTTOMS[name], protect=protect), tmp_path / "b"), noise=Silent())
    inputs = batch(count)
    sums = []
    for size in (0.0, 1e6):
        canary = {key: value.copy() for key, value in inputs.items()}
        for key in ("alice.x", "alice.y"):
            canary[key][3] = size
        sums.append(at.moved(canary))
    others = at.moved({key: np.delete(value, 3, 0) for key, value in inputs.items()})
    for found in sums:
        own = {weight: found[weight] * count - others[weight] * (count - 1) for weight in found}
        assert length(own) <= clip * (1 + 1e-3), "of a sum in float32"
    if name == "deep":
        assert length({w: (sums[1][w] - sums[0][w]) * count for w in others}) > clip / 10, "it does move it"


@pytest.mark.parametrize(
    ("asked", "engine"), [("noise = 3.0", "onnx"), ("noise = 3.0", "keras"), ("epsilon = 2", "onnx")]
)
def test_noise_of_each_number_is_what_was_asked_for_and_its_own_in_each_step(
    asked: str, engine: str, tmp_path: Path
) -> None:
    clip, count, times = 0.5, 8, 40
    noise = 3.0 if asked.startswith("noise") else calibrate(2, 1e-6, 1, 100.0, None)
    bottom = "h = dense(concat(dense(alice.x, 50), embed(alice.city, dim = 40)), 8)"
    protect = f"protect weights at alice with dp_sgd(clip = {clip}, {asked})\n"
    backends = ("onnx", "keras") if engine == "keras" else ("onnx",)
    folder = bundle(text(bottom, protect=protect), tmp_path, backends=backends)
    inputs = batch(count)
    loud = At(folder, engine)
    with pytest.MonkeyPatch.context() as patch:
        for guards in loud.session.guards().values():
            patch.setattr(guards, "_noise", Silent())
        silent = loud.moved(inputs)
    drawn: dict[str, list[np.ndarray]] = {}
    for _ in range(times):
        for weight, gradient in loud.moved(inputs).items():
            drawn.setdefault(weight, []).append((gradient - silent[weight]).reshape(-1))
    wanted = noise * clip / count
    assert any("table" in weight or "city" in weight for weight in drawn)
    for weight, values in drawn.items():
        several = np.stack(values)  # [times, numbers of the weight]
        error = 5 * wanted / np.sqrt(2 * several.size)  # five standard errors of a deviation
        assert abs(several.std() - wanted) < error, weight
        assert abs(several.mean()) < 5 * wanted / np.sqrt(several.size), weight
        assert several.std(0).min() > wanted / 3, "every number, of every row of a table, has noise"
    flat = np.concatenate([np.stack(values) for values in drawn.values()], axis=1)
    assert len(np.unique(flat)) > 0.99 * flat.size, "no number twice: neither in a step nor in two"


def mistakes(spec: str) -> list[Any]:
    return [
        each for each in check_source(SourceText("test.vfl", spec)) if each.code in ("VFL0345", "VFL0346")
    ]


@pytest.mark.parametrize(
    ("bottom", "more", "why"),
    [
        ("h = batch_norm(dense(concat(alice.x, alice.y), 3))", "", "computed from all rows of a batch"),
        ("t = table(5, 3)\nh = lookup(t, alice.city)", " + l2(0.1, t)", "reveals which rows these are"),
        ("w = weight(3)\nh = alice.x * w + bob.item * w", "", "summed over the rows there"),
        ("t = table(5, 3)\nh = lookup(t, alice.city) + sum(t, axis = row)", "", "read in another way"),
    ],
)
def test_weights_whose_rows_meet_are_refused_and_it_is_said_why(bottom: str, more: str, why: str) -> None:
    (found,) = mistakes(text(bottom, more, PROTECT.format(clip=1, noise=1)))
    assert found.code == "VFL0346" and why in found.message and "protect weights NAME, …" in found.help


def test_weights_that_rows_do_not_meet_before_can_be_named() -> None:
    bottom = "g = dense(alice.x, 2)\nh = concat(g, batch_norm(alice.y))"
    (found,) = mistakes(text(bottom, protect=PROTECT.format(clip=1, noise=1)))
    assert found.code == "VFL0346" and "gamma" in found.message
    assert not mistakes(text(bottom, protect=PROTECT.format(clip=1, noise=1).replace("weights", "weights g")))


def test_a_penalty_is_added_behind_the_noise(tmp_path: Path) -> None:
    """It depends on no row, so that it is neither clipped nor noisy."""
    protect = PROTECT.format(clip=0.01, noise=1.0)
    bottom = "w = weight(2, 3)\nh = concat(alice.x, alice.y) @ w"
    inputs, found = batch(8), {}
    for name, more in (("plain", ""), ("l2", " + l2(0.5, w)")):
        folder = bundle(text(bottom, more, protect), tmp_path / name, precision="float64")
        at = At(folder, noise=Silent())
        found[name] = at.moved(inputs)["w"]
    assert found["l2"] - found["plain"] == pytest.approx(0.5 * at.start["alice"]["w"], rel=1e-9)


def test_a_plan_whose_noise_goes_nowhere_is_damaged(tmp_path: Path) -> None:
    folder = bundle(text(BOTTOMS["dense"], protect=PROTECT.format(clip=1, noise=1)), tmp_path / "b")
    path = folder / "alice" / "plan.json"
    plan = json.loads(path.read_text())
    (guard,) = plan["guards"]
    guard["draws"].append({**guard["draws"][0], "id": "another"})
    path.write_text(json.dumps(plan))
    sign(folder)
    with pytest.raises(Failure, match=r"VFL0613.*nothing in training reads 'another'"):
        Session(open_bundle(folder), "onnx", 0, 1)


# --- a run ------------------------------------------------------------------------------------------


RUN = TWO + "protect weights at alice with dp_sgd(clip = 1.0, epsilon = 8, delta = 1e-5)\n"


def run(folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    source = {party: table for party, table in rows(100).items() if party in ("alice", "bob")}
    return train(folder, source, out, TrainOptions(threads=1, **options)).metrics


def test_a_run_says_what_it_spent_by_the_accountant_of_the_library(tmp_path: Path) -> None:
    import dp_accounting
    from dp_accounting import pld

    metrics = run(bundle(RUN, tmp_path / "b"), tmp_path / "run")
    (entry,) = metrics["protections"]
    assert entry["mechanism"] == "dp_sgd" and entry["steps"] == metrics["steps"] == 12
    assert entry["rows"] == 300 and entry["edges"] == [] and entry["delta"] == 1e-5
    assert entry["epsilon"] == pytest.approx(8, rel=1e-6)
    accountant = pld.PLDAccountant(
        value_discretization_interval=1e-3
    )  # a row is in one batch of each epoch, and moves its sum by twice the clip
    accountant.compose(dp_accounting.GaussianDpEvent(entry["noise"] / 2), 3)
    assert accountant.get_epsilon(1e-5) == pytest.approx(8, rel=1e-3)


def test_a_run_goes_on_with_its_noise_and_counts_on(tmp_path: Path) -> None:
    folder = bundle(RUN, tmp_path / "b")
    noise = run(folder, tmp_path / "run", steps=6, checkpoint_steps=3)["protections"][0]["noise"]
    options = TrainOptions(resume=True, epochs=2, threads=1)
    source = {party: table for party, table in rows(100).items() if party in ("alice", "bob")}
    (entry,) = train(None, source, tmp_path / "run", options).metrics["protections"]
    assert entry["noise"] == noise and entry["steps"] == 8
    assert entry["epsilon"] <= 8 * (1 + 1e-9), "the same noise on the same values is no second message"
    with pytest.raises(Failure, match="VFL0671"):
        train(None, source, tmp_path / "run", TrainOptions(resume=True, epochs=3, threads=1))


def test_a_run_of_more_epochs_than_its_epsilon_allows_never_begins(tmp_path: Path) -> None:
    spec = TWO + "protect weights at alice with dp_sgd(clip = 1.0, noise = 4.0, epsilon = 6)\n"
    with pytest.raises(Failure, match=r"VFL0672.*50 epochs"):
        run(bundle(spec, tmp_path / "b"), tmp_path / "run", epochs=50)
    assert not (tmp_path / "run").exists()


def test_the_manifest_says_of_which_weights_and_what_it_does_not_bound(tmp_path: Path) -> None:
    folder = bundle(RUN, tmp_path / "b")
    manifest = json.loads((folder / "manifest.json").read_text())
    (entry,) = manifest["protections"]
    assert entry["weights"][0] == "h.mlp.0.kernel" and entry["place"] == "alice"
    assert entry["privacy"] == "proven"
    assert "no bound on the row's own messages" in entry["promise"]
    (line,) = [each for each in (folder / "manifest.md").read_text().splitlines() if "dp_sgd(" in each]
    assert "`h.mlp.0.kernel`" in line and "ε = 8" in line
