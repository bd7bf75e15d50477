"""Random specs over one to four parties: unsplit and split, by ONNX and by Keras, they train to the same."""

from __future__ import annotations

from typing import Any

from compiler.random_specs import specs
from hypothesis import HealthCheck, Phase, given, settings
from verify.verifying import crosswise


@settings(
    max_examples=3, deadline=None, database=None,
    suppress_health_check=list(HealthCheck), phases=[Phase.generate],
)  # fmt: skip
@given(text=specs())
def test_random_specs_are_verified(text: str, tmp_path_factory: Any) -> None:
    """What fails is shown as it is: an example takes seconds."""
    for each in crosswise(text, tmp_path_factory.mktemp("random")):
        assert each.within, (each.ways, each.worst)
