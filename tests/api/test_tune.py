"""`vflc tune`: what is tried follows from the seed and the trials before; a search goes on where it was."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow.csv import write_csv
from vflc_runtime.errors import Failure
from vflc_runtime.run.opened import open_run
from vflc_runtime.run.train import TrainOptions

from vflc.api.search import Search
from vflc.api.trials import TrialResult, next_settings
from vflc.api.tune import Tuning
from vflc.cli.tune import command
from vflc.diagnostics import Refused

pytestmark = pytest.mark.skipif(find_spec("optuna") is None, reason="optuna is not installed")

SPEC = """
party p { key id  feature x{1..3}: float  label t: float }
RATE = 0.01
out = dense(concat(p.x{1..3}), 1)
predict t = out
objective mse(out, p.t)
train { optimizer sgd(lr = RATE)  batch 16  epochs 1  validation 0.25  metrics r2  monitor r2 }
"""
SEARCH = (Search.of("RATE", "log(1e-4, 0.3)"), Search.of("batch", "8, 32"))
OPTIONS = TrainOptions(threads=1, seed=3)


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 128))
    columns = {f"x{i + 1}": x[i] for i in range(3)}
    return {"p": pa.table({"id": list(range(128)), **columns, "t": x[0] - 2 * x[1]})}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "m.vfl").write_text(SPEC)
    return tmp_path / "m.vfl"


def same(results: list[TrialResult]) -> list[Any]:
    return [(r.number, r.settings, r.value, r.metric, r.epoch, r.validation) for r in results]


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(
    spec: Path, tables: dict[str, Any], tmp_path: Path
) -> None:
    whole = Tuning(spec, SEARCH, tmp_path / "whole", OPTIONS)
    whole.run(4, tables)
    assert len({json.dumps(r.settings) for r in whole.trials}) == 4
    assert whole.best == max(whole.trials, key=lambda r: r.value or 0) and whole.best.metric == "r2"
    assert all(1e-4 <= float(r.settings["RATE"]) <= 0.3 for r in whole.trials)
    assert {r.settings["batch"] for r in whole.trials} <= {"8", "32"}
    assert open_run(whole.out / "best").metrics()["best"]["value"] == whole.best.value
    assert {each.name for each in whole.out.iterdir()} == {"best", "tune.json", "trials.json"}

    def stop(result: TrialResult) -> None:
        if result.number == 2:
            raise KeyboardInterrupt

    part = Tuning(spec, SEARCH, tmp_path / "part", OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        part.run(4, tables, told=stop)
    (part.out / "trial").mkdir()  # what a process that was killed in a trial leaves behind
    (part.out / "trial" / "run.json").write_text("{")
    with pytest.raises(Failure) as failed:
        Tuning(spec, SEARCH, part.out, OPTIONS).run(4, tables)
    assert failed.value.code == "VFL0624"
    again = Tuning(spec, SEARCH, part.out, OPTIONS)
    again.run(4, tables, resume=True)
    assert same(again.trials) == same(whole.trials)
    with pytest.raises(Failure, match="other values of: search") as failed:
        Tuning(spec, SEARCH[:1], part.out, OPTIONS).run(5, tables, resume=True)
    assert failed.value.code == "VFL0750"
    changed = {"p": tables["p"].set_column(1, "x1", pa.array(np.zeros(128)))}
    with pytest.raises(Failure, match="other rows") as failed:
        Tuning(spec, SEARCH, part.out, OPTIONS).run(5, changed, resume=True)
    assert failed.value.code == "VFL0626"
    kept = json.loads((part.out / "trials.json").read_text())
    first = kept[0]
    settings = first["settings"]
    for change in ({"value": "1"}, {"number": 2}, {"metric": None}, {"settings": {"RATE": "0.1"}}):
        _damaged(spec, part.out, tables, "trials.json", json.dumps([first | change]))
    for tried in ({"batch": "16"}, {"RATE": "nan"}, {"RATE": "-1"}, {"RATE": "x"}):
        damaged = [first | {"settings": settings | tried}]
        _damaged(spec, part.out, tables, "trials.json", json.dumps(damaged))
    for nothing in ("{}", "[null]", '[{"number": 1}]', "[" * 100_000):
        _damaged(spec, part.out, tables, "trials.json", nothing)
    _damaged(spec, part.out, tables, "trials.json", "[{]")
    _damaged(spec, part.out, tables, "tune.json", "[]")


def _damaged(spec: Path, out: Path, tables: dict[str, Any], name: str, text: str) -> None:
    (out / name).write_text(text)
    with pytest.raises(Failure) as failed:
        Tuning(spec, SEARCH, out, OPTIONS).run(5, tables, resume=True)
    assert failed.value.code == "VFL0621", text


@pytest.mark.parametrize(
    ("texts", "count"),
    [(("int(1, 12)", "a, b"), 24), (("8, 16", "1, 2"), 4), (("uniform(1, 1.0000001)",), 1)],
    ids=["numbers", "choices", "digits"],
)
def test_no_setting_is_tried_twice(texts: tuple[str, ...], count: int) -> None:
    """Nor the best one, nor what diverged, until none is left; what comes next follows from the others."""
    search = [Search.of(f"s{i}", text) for i, text in enumerate(texts)]
    trials: list[TrialResult] = []
    while (tried := next_settings(search, trials, 7)) is not None:
        assert tried == next_settings(search, trials, 7)
        value = None if len(trials) % 4 == 3 else float(tried["s0"])
        trials.append(TrialResult(len(trials) + 1, tried, value, "auc", 1, {}, 0.0))
    assert len(trials) == len({json.dumps(each.settings) for each in trials}) == count


def test_a_search_ends_where_no_setting_is_left(spec: Path, tables: dict[str, Any], tmp_path: Path) -> None:
    write_csv(tables["p"], tmp_path / "p.csv")
    arguments = [str(spec), "--search", "batch=8,32", "--trials", "9", "--out", str(tmp_path / "t")]
    arguments += ["--data", f"p={tmp_path / 'p.csv'}", "--threads", "1"]
    found = CliRunner().invoke(command, arguments)
    assert found.exit_code == 0, found.output
    twice = CliRunner().invoke(command, [*arguments, "--search", "batch=16,64"])
    assert twice.exit_code == 2 and "`batch` is searched twice" in twice.output
    assert [line for line in found.output.splitlines() if "no setting is left to try after 2 trials" in line]
    assert len(json.loads((tmp_path / "t" / "trials.json").read_text())) == 2


def test_a_trial_that_diverges_has_no_value(spec: Path, tables: dict[str, Any], tmp_path: Path) -> None:
    tuning = Tuning(spec, (Search.of("RATE", "1e30, 2e30"),), tmp_path / "t", OPTIONS)
    tuning.run(2, tables)
    assert [r.value for r in tuning.trials] == [None, None] and tuning.best is None


def test_what_cannot_be_searched(spec: Path, tables: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        Tuning(spec, SEARCH, tmp_path / "t", OPTIONS, {"validation": "0.0"}).run(1, tables)
    assert failed.value.code == "VFL0750"
    with pytest.raises(Refused, match="VFL0101"):
        Tuning(spec, (Search.of("RATES", "1,2"),), tmp_path / "u", OPTIONS).run(1, tables)
    assert not (tmp_path / "u").exists()
    with pytest.raises(Failure) as failed:
        Tuning(spec, SEARCH, tmp_path / "u", OPTIONS, {"RATE": "0.1"})
    assert failed.value.code == "VFL0749"


@pytest.mark.parametrize(
    "text", ["", "8", "8,8", "8,,9", "log(0, 1)", "log(1, x)", "uniform(2, 1)", "int(1.5, 3)", "log(1, inf)"]
)
def test_no_search(text: str) -> None:
    with pytest.raises(Failure) as failed:
        Search.of("k", text)
    assert failed.value.code == "VFL0749"


def test_a_range_that_is_none_is_told_what_its_way_needs() -> None:
    for text, needs in (("log(0, 1)", "above 0"), ("int(1.5, 3)", "whole numbers")):
        with pytest.raises(Failure) as failed:
            Search.of("k", text)
        assert needs in str(failed.value.help)


def test_values_with_commas_of_their_own() -> None:
    assert Search.of("o", "adam(0.1, 0.9), sgd(0.1)").choices == ("adam(0.1, 0.9)", "sgd(0.1)")
    assert Search.of("k", "int(2, 5)").read("3") == 3
    # What is the same, but written otherwise, is one choice.
    assert Search.of("k", "0.1, .1, 1e-1, 8, 0.10, 8.0").choices == ("0.1", "8")
    assert Search.of("o", 'sgd(1), sgd( 1 ), "a b", "ab"').choices == ("sgd(1)", '"a b"', '"ab"')


def test_a_population_is_searched_by_its_validation_loss(tmp_path: Path) -> None:
    (tmp_path / "u.vfl").write_text("""
population users { key id  feature item: int -> index(9)  column stars: float  label rating = stars }
party hub {}
global items = table(9, 3) at hub
local taste = weight(3) at users
score = dot(taste, lookup(items, users.item))
predict rating = score
objective mse(score, users.rating)
release users { to hub: item, rating, to users: item, rating }
train reconstruct { rounds 2  cohort 4  batch 4  validation 0.3  test 0.1 }
""")
    rng = np.random.default_rng(3)
    keys, items = [f"u{i % 20}" for i in range(200)], rng.integers(0, 9, 200)
    users = {"id": keys, "item": items, "stars": rng.normal(size=200)}
    tuning = Tuning(tmp_path / "u.vfl", (Search.of("cohort", "2, 4"),), tmp_path / "t", TrainOptions())
    tuning.run(1, {"users": pa.table(users)})
    assert tuning.best is not None and tuning.best.metric == "loss" and tuning.best.epoch == 2
    assert tuning.stretch == "round"
