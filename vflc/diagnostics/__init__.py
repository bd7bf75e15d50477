"""Diagnostics: spans, codes, one model of a finding, and a renderer a file."""

from vflc.diagnostics.diagnostic import Collector, Diagnostic, Label, Level, Refused
from vflc.diagnostics.span import Source, Span

__all__ = ["Collector", "Diagnostic", "Label", "Level", "Refused", "Source", "Span"]
