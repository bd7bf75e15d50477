"""Waivers for specs of tests that are not about disclosure: small models give labels away exactly."""

from __future__ import annotations

import re
from functools import cache

from vflc.diagnostics import Source
from vflc.driver import check_source


@cache
def waived(text: str) -> str:
    """The spec with a waiver for every error that the analysis of its gradients asks one for."""
    found = [d.help or "" for d in check_source(Source("waived.vfl", text)) if d.code == "VFL0310"]
    parties = dict.fromkeys(name for help in found for name in re.findall(r"on gradients to (\w+)", help))
    lines = [f'accept VFL0310 on gradients to {party} because "a test"\n' for party in parties]
    return "\n".join([text, *lines]) if lines else text
