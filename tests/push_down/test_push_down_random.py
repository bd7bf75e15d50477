"""Random models that are written as one table: pushed down, as written and unsplit they are one model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from compiler.random_specs import batch
from granting import granted
from hypothesis import HealthCheck, Phase, assume, given, settings
from push_down.one_table import compiled, one_table
from push_down.random_one_table import one_table_specs
from vflc_runtime.run.session import Session

from vflc.diagnostics import DiagnosticCollector, Refused, SourceText
from vflc.emit.bundle import Bundle
from vflc.passes.lower import lower
from vflc.passes.pipeline import Watch, pipeline
from vflc.passes.place import Placement, astray
from vflc.passes.prune import Prune
from vflc.passes.split import split
from vflc.syntax.parser import parse

STEPS, ROWS, BATCH = 3, 7, 8
WAYS: dict[str, dict[str, bool]] = {
    "pushed": {},
    "written": {"push_down": False},
    "unsplit": {"unsplit": True},
}
few = settings(
    max_examples=6, deadline=None, database=None,
    suppress_health_check=list(HealthCheck), phases=[Phase.generate],
)  # fmt: skip
"""What fails is shown as it is: an example takes seconds."""


def made(text: str, way: str, **options: Any) -> Bundle | None:
    """The bundle of a way; None where the spec is refused in it.

    Penalties on tables that no loss trains, and optimizers for no weight, are mistakes in any way.
    """
    try:
        return compiled(text, precision="float64", protections=False, **WAYS[way], **options)
    except Refused as refused:
        codes = {found.code for found in refused.diagnostics}
        assume(codes.isdisjoint({"VFL0101", "VFL0150"}))
        assert codes <= {"VFL0301", "VFL0302", "VFL0401"}, refused.diagnostics
        return None


def crossing(bundle: Bundle) -> float:
    """Bytes a row that cross in training, forward and back; what crosses once a step by its share."""
    total = 0.0
    for edge in bundle.manifest["edges"]:
        if "train" in edge["programs"]:
            fixed = [size for size in edge["shape"] if size != "batch"]
            total += 4 * np.prod(fixed) / (1 if "batch" in edge["shape"] else BATCH)
    return total


@few
@given(text=one_table_specs())
def test_all_ways_are_one_model(text: str, tmp_path_factory: Any) -> None:
    ways = {way: bundle for way in WAYS if (bundle := made(text, way)) is not None}
    assert "unsplit" in ways
    assert "pushed" in ways or "written" not in ways
    encoders = json.loads(ways["unsplit"].files["unsplit/encoders.json"])
    batches = [batch(encoders, ROWS, seed) for seed in range(STEPS)]
    folder, found = tmp_path_factory.mktemp("ways"), {}
    for way, bundle in ways.items():
        bundle.write(folder / way)
        session = Session(folder / way, seed=3, threads=1)
        losses = [session.step(inputs).loss for inputs in batches]
        found[way] = (losses, session.weights(), session.predict(batch(encoders, ROWS, 99)))
    expected, weights, predictions = found.pop("unsplit")
    for way, (losses, ours, predicted) in found.items():
        same(losses, expected, f"losses {way}")
        assert ours.keys() == weights.keys()
        for name in weights:
            same(ours[name], weights[name], f"{name} {way}")
        for name in predictions:
            same(predicted[name], predictions[name], f"{name} {way}")
    if "written" in ways and not end_is_astray(text):
        assert crossing(ways["pushed"]) <= crossing(ways["written"])


def end_is_astray(text: str) -> bool:
    """Whether the model as written may meet where no label is, for fewer bytes."""
    collector = DiagnosticCollector()
    lowered = lower(parse(SourceText("random.vfl", text), collector), "random", None, collector)
    assert lowered is not None
    pruned = Prune()(lowered, collector)
    return astray(pruned, Placement(unsplit=False)(pruned, collector))


def same(ours: Any, theirs: Any, what: str) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=what)


@few
@given(text=one_table_specs())
def test_no_more_is_found_than_as_it_is_written(text: str) -> None:
    """What has the grants that it needs as it is written needs no others. And all passes keep their word."""
    as_written = granted(text.replace("\n  batch 8", "\n  batch 8\n  push_down false"))
    text = as_written.replace("\n  push_down false", "")
    pushed, refused = findings(text, True)
    written, refused_as_written = findings(text, False)
    if not refused_as_written:
        assert not refused
        assert pushed <= written


def findings(text: str, push_down: bool) -> tuple[Counter[str], bool]:
    """Codes of findings, and whether the spec is refused."""
    source, collector = SourceText("random.vfl", text), DiagnosticCollector()
    lowered = lower(parse(source, collector), "random", None, collector)
    assert lowered is not None
    try:
        split(lowered, collector, pipeline, Watch(checked=True), push_down=push_down)
    except Refused as refused:
        found = refused.diagnostics
    else:
        found = collector.diagnostics
    codes = Counter(each.code for each in found)
    assert "VFL0501" not in codes, found
    return codes, any(each.level == "error" for each in found)


@settings(few, max_examples=3)
@given(text=one_table_specs())
def test_it_compiles_to_the_same_bytes_in_another_process(text: str, tmp_path_factory: Any) -> None:
    bundle = made(text, "pushed")
    if bundle is None:
        return
    path = tmp_path_factory.mktemp("again") / "one.vfl"
    path.write_text(text, encoding="utf-8")
    again = made(text, "pushed")
    assert again is not None and again.files == bundle.files
    assert digest_elsewhere(path, salt(1)) == bundle.manifest["digest"]


def test_the_order_of_values_that_only_predictions_read_does_not_hang_on_hashes(tmp_path: Path) -> None:
    sums = [f"s{index} = sum(embed(FEATURES, dim = {2 + index}))" for index in range(6)]
    predictions = [f"predict q{index} = s{index} of y" for index in range(1, 6)]
    path = tmp_path / "one.vfl"
    path.write_text(one_table("\n".join([*sums, *predictions, "logit = s0"])), encoding="utf-8")
    assert digest_elsewhere(path, salt(1)) == digest_elsewhere(path, salt(2))


def salt(number: int) -> str:
    """A PYTHONHASHSEED that is not that of this process."""
    return str(number if os.environ.get("PYTHONHASHSEED") != str(number) else number + 10)


def digest_elsewhere(path: Path, seed: str) -> str:
    """The digest of the pushed bundle, compiled in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from vflc.driver import compile_source; "
        "from vflc.diagnostics import SourceText; text = Path(sys.argv[1]).read_text('utf-8'); "
        "made = compile_source(SourceText('one.vfl', text), precision='float64', protections=False); "
        "print(made.manifest['digest'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return result.stdout.strip()
