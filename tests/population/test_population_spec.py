"""What a spec of a population may not say: the edges of every bound, and a second of what there is one of."""

from __future__ import annotations

import pytest
from population.reference import spec

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

SECOND = "population others {\n  key user\n  feature item: int -> index(30)\n}\n"


def refused(text: str) -> set[str]:
    """The codes of the errors that a spec ends with; none where it compiles."""
    try:
        compile_source(SourceText("p.vfl", text))
    except Refused as found:
        return {each.code for each in found.diagnostics if each.level == "error"}
    return set()


@pytest.mark.parametrize(
    ("settings", "good"),
    [
        ("validation 0.5  test 0.5", "validation 0.5  test 0.49"),
        ("halves fraction(0.0)", "halves fraction(0.01)"),
        ("halves fraction(1.0)", "halves fraction(0.99)"),
        ("clip_norm 0", "clip_norm 0.001"),
        ("cohort 0", "cohort 1"),
        ("rebuild_steps 0", "rebuild_steps 1"),
        ("clip_norm 1  noise 0  noise_delta 1e-5  weighting uniform",
         "clip_norm 1  noise 0.1  noise_delta 1e-5  weighting uniform"),
        ("clip_norm 1  noise 1  noise_delta 1.0  weighting uniform",
         "clip_norm 1  noise 1  noise_delta 0.9  weighting uniform"),
    ],
)  # fmt: skip
def test_bounds(settings: str, good: str) -> None:
    assert "VFL0205" in refused(spec(settings))
    assert refused(spec(good)) == set()


def test_there_is_one_population_and_one_hub() -> None:
    text = spec("rounds 1")
    assert "VFL0502" in refused(text.replace("party hub {}", SECOND + "party hub {}"))
    assert "VFL0502" in refused(text.replace("party hub {}", "party hub {}\nparty other {}"))
