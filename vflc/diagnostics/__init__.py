"""Diagnostics: spans, codes, one model of a finding, and a renderer a file."""

from vflc.diagnostics.diagnostic import Diagnostic, DiagnosticCollector, Refused, RelatedSpan, Severity
from vflc.diagnostics.span import SourceText, Span

__all__ = ["Diagnostic", "DiagnosticCollector", "Refused", "RelatedSpan", "Severity", "SourceText", "Span"]
