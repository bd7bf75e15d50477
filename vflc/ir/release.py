"""What a spec says about what may leave, what stands before an edge, and what was found about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field
from vflc_common.words import PROGRAMS, Phase, Privacy

from vflc.diagnostics.span import Span
from vflc.ir.graph import Graph


class Target(Struct, frozen=True):
    """What `protect` and `accept` speak of: values, all gradients to a party, or weights at one.

    Args:
        values: ids of the values named; a record names all of its fields.
        gradients_to: the party, where the target is `gradients to PARTY`.
        text: as the user wrote it.
        weights_at: the party, where the target is `weights at PARTY`.
        patterns: over names of weights, where only some are meant.
    """

    values: tuple[str, ...]
    gradients_to: str | None
    text: str
    span: Span
    weights_at: str | None = None
    patterns: tuple[str, ...] = ()


class Limit(Struct, frozen=True):
    """One clause of a `release`: what a party lets out of its place, and no more.

    Args:
        kind: `activations` (what leaves forward), `gradients` (what leaves backward), `edge` (of
            activations only `names`), `party` (only to `names`), `never` (nothing that leaves, or that
            goes `to` these, depends on the columns of `names`).
        floats: most numbers a row, of all edges of a program together; None where it sets no limit.
        values: of `edge`, what each name means in the graph; nothing where it is an edge's own id.
    """

    kind: Literal["activations", "gradients", "edge", "party", "never"]
    span: Span
    floats: int | None = None
    names: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    to: tuple[str, ...] = ()


class Grant(Struct, frozen=True):
    """A column that a receiver may learn.

    Args:
        party: whose column it is.
        column: as the spec or the table calls it.
        epsilon: the most that a mechanism with a proof may let through; None for any.
        bits: the most bits a row; None for any.
        programs: where it is learned: everywhere where nothing is said.
        held: whether the receiver has the column anyway.
    """

    party: str
    receiver: str
    column: str
    span: Span
    epsilon: float | None = None
    bits: float | None = None
    programs: tuple[str, ...] = PROGRAMS
    held: bool = False

    @property
    def is_bounded(self) -> bool:
        """Whether it grants less than all of the column."""
        return self.epsilon is not None or self.bits is not None


class Release(Struct, frozen=True):
    """`release PARTY { … }`: grants, and limits that all that leaves the party must fit."""

    party: str
    limits: tuple[Limit, ...]
    span: Span
    grants: tuple[Grant, ...] = ()


class Acceptance(Struct, frozen=True):
    """`accept CODE on TARGET because "…"`: a finding waived in writing."""

    code: str
    target: Target
    reason: str
    span: Span


class Protection(Struct, frozen=True):
    """`protect TARGET with MECHANISM(…)`, as the spec asks for it.

    Args:
        training: whether noise that would be there in all phases is limited to training.
    """

    id: str
    target: Target
    mechanism: str
    options: Mapping[str, Any]
    span: Span
    training: bool = False


class Guard(Struct, frozen=True):
    """A protection in the graph: `after[i]` crosses in the place of `before[i]`.

    Args:
        protection: its id.
        place: where the mechanism runs, before anything leaves.
        phase: whether it guards activations or gradients.
        before, after: ids of the values; the mechanism sees their joint row.
        privacy: what it is for: see `Privacy`.
        promise: what holds of what crosses, in a sentence.
        id: its own, as one protection may need several guards; also the name of its graph.
        mechanism, options: what was asked for, with the defaults of what was left out.
        graph: from `before` to `after`, where it is not part of the graph that makes `before`.
        keeps: what is fed for a row, and the value that is kept for the row's next time.
        reads: a label that a step of the run needs besides.
        span: where it was asked for.
        programs: in which it runs, where its values are made there.
        weights: of a protection of weights, those whose gradients it guards: `before` are the sums over a
            batch of rows that are clipped, and `after` is what each weight learns from.
    """

    protection: str
    place: str
    phase: Phase
    before: tuple[str, ...]
    after: tuple[str, ...]
    privacy: Privacy
    promise: str
    id: str = ""
    mechanism: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    graph: Graph | None = None
    keeps: tuple[tuple[str, str], ...] = ()
    reads: str | None = None
    span: Span | None = None
    weights: tuple[str, ...] = ()
    programs: tuple[str, ...] = ("train",)

    @property
    def private(self) -> bool:
        """Whether what crosses is not simply what it was: compression alone does not count."""
        return self.privacy != "none"

    @property
    def proven(self) -> bool:
        """Whether it bounds what is learned of what it lets through."""
        return self.privacy == "proven"

    @property
    def masks(self) -> bool:
        """Whether it hides the values themselves on their way, also outside of training."""
        return self.before == self.after

    @property
    def inside(self) -> bool:
        """Whether it is part of the graphs of its place, which a run only has to feed."""
        return (self.phase == "forward" or bool(self.weights)) and not self.masks


class Offer(Struct, frozen=True):
    """A sum of which the terms could travel masked, and do not.

    Args:
        place: where the sum is made.
        terms: the values from elsewhere that enter it and nothing else.
        text: what a person is told.
    """

    place: str
    terms: tuple[str, ...]
    text: str


class Finding(Struct, frozen=True):
    """What the analysis found about edges, for the manifests.

    Args:
        edges: ids of the edges that it is about.
        accepted: the reason by which a party waived it.
    """

    code: str
    level: Literal["error", "warning"]
    edges: tuple[str, ...]
    message: str
    accepted: str | None = None
