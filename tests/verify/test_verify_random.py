"""Random specs over one to four parties: every way agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compiler.random_specs import specs
from hypothesis import HealthCheck, Phase, given, settings
from verify.verifying import agreed


@settings(
    max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)  # a compilation takes seconds: what fails is shown as it is
@given(text=specs())
def test_random_specs_are_verified(text: str, tmp_path_factory: Any) -> None:
    spec = Path(tmp_path_factory.mktemp("random")) / "random.vfl"
    spec.write_text(text)
    agreed(spec, "--precision", "float64", "--steps", "4", "--rows", "32", "--batch", "8")
