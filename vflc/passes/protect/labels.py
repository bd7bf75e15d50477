"""Randomised response on a label, and the loss of the answer by its chance under the model.

What the model says of the label is passed through the chances of the answers before it is held against one
(forward correction; Patrini et al., "Making deep neural networks robust to label noise", CVPR 2017). The
mean of that loss is least where the model has the chances of the true labels, and no loss is below 0.
Randomised response: Warner 1965; for several classes Kairouz et al. 2016.
"""

from __future__ import annotations

import math

from msgspec import Struct, field
from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector, RelatedSpan
from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.release import Protection
from vflc.ir.stages import Placed
from vflc.ops import LOSSES, OPS, infer
from vflc.ops.mechanisms import MECHANISMS
from vflc.ops.protection import Answers, Draw
from vflc.passes.protect.joint import draw_node, guard_of, rewired

NEVER = -1e4
"""The logit of a class that is never answered."""


def guard_labels(model: Placed, protection: Protection, collector: DiagnosticCollector) -> Placed:
    """The model whose losses read drawn labels in training; the same model after a mistake."""
    mechanism = MECHANISMS[protection.mechanism]
    if not (labels := _labels(model, protection, collector)) or mechanism.answers is None:
        return model
    answers = mechanism.answers(mechanism.filled(protection.options))
    for label in labels:
        work = _Label(model, protection, label, collector, answers)
        if not work.fits():
            return model
        model = work.guard()
    return model


def _labels(model: Placed, protection: Protection, collector: DiagnosticCollector) -> list[Node]:
    target, graph = protection.target, model.graph
    names = target.values or (target.text,)
    labels = [graph[name] for name in names if name in graph and graph[name].op == "label"]
    if target.gradients_to is not None or len(labels) < len(names):
        known = ", ".join(f"`{node.id}`" for node in graph if node.op == "label")
        collector.error(
            "VFL0333",
            f"`{protection.mechanism}` is for labels, but `{target.text}` is not a label that a loss reads",
            protection.span,
            f"the labels are {known}" if known else None,
        )
        return []
    if any(label.id in guard.before for guard in model.guards for label in labels):
        text = f"`{target.text}` is protected twice"
        collector.error("VFL0336", text, protection.span, "keep one of them: a label is drawn only once")
        return []
    return labels


class _Label(Struct):
    """One label, and the ways from it to the losses.

    Args:
        shaped: values that are the label in another shape.
        answers: how the label is answered for.
        ends: ids of (reader, what it reads), where the label enters a loss.
    """

    model: Placed
    protection: Protection
    label: Node
    collector: DiagnosticCollector
    answers: Answers
    shaped: set[str] = field(default_factory=set)
    ends: list[tuple[str, str]] = field(default_factory=list)

    @property
    def classes(self) -> int:
        return 2 if self.label.type.dtype == "float" else int(self.label.attrs["rows"] or 0)

    def fits(self) -> bool:
        """Whether the label enters losses by cross-entropies alone; reports what is in the way."""
        users, queue = self.model.graph.users(), [self.label.id]
        while queue:
            name = queue.pop()
            self.shaped.add(name)
            for user in users[name]:
                if OPS[user.op].differs:  # it leaves the label what it is
                    queue.append(user.id)
                elif self._is_end(user, name):
                    self.ends.append((user.id, name))
                else:
                    return self._refuse(user)
        if not self.ends or self.classes < 2:
            return self._refuse(None)
        return self._prior_fits()

    def _prior_fits(self) -> bool:
        """Whether a prior is of the label's classes and leaves something to learn; reports where not."""
        classes, top = self.answers.classes, self.answers.among
        if classes not in (None, self.classes):
            text = f"`{self.label.id}` has {self.classes} classes, but the prior has {classes} shares"
            help = "give one share per class, in order of the classes"
        elif len(top) == 1:
            text = f"with this prior and ε = {self.answers.epsilon:g} every answer would be class {top[0]}"
            help = "remove the prior, or give a larger ε: nothing could be learned from such answers"
        else:
            return True
        self.collector.error("VFL0348", text, self.protection.span, help)
        return False

    def _is_end(self, user: Node, name: str) -> bool:
        """The label's place in the terms of a cross-entropy."""
        terms = {rule.terms for rule in LOSSES.values()}
        return user.op in terms and user.inputs[1] == name and user.inputs[0] != name

    def _refuse(self, user: Node | None) -> bool:
        mechanism = self.protection.mechanism
        how = f"is also read by `{user.op}`" if user is not None else "is not used in a cross-entropy"
        spans = (user.span,) if user is not None and user.span is not None else ()
        self.collector.error(
            "VFL0333",
            f"`{mechanism}` works with `bce` and `cce` of a class, but `{self.label.id}` {how}",
            self.protection.span,
            "use the label unchanged, or remove what else reads it",
            *(RelatedSpan(span, "it is read here") for span in spans),
        )
        return False

    def guard(self) -> Placed:
        """Puts the drawn label and the correction in."""
        model, protection, label = self.model, self.protection, self.label
        alone = len(protection.target.values) < 2
        guard = protection.id if alone else f"{protection.id}.{label.id}"
        graph = Graph(dict(model.graph.nodes))
        b = Build(graph, infer, (guard,), label.place, span=protection.span)
        top = self.answers.among
        grown, among = math.exp(self.answers.epsilon), len(top) or self.classes
        keep = grown / (grown + among - 1)
        width = 1 if label.type.dtype == "float" else None
        shift = draw_node(b, guard, Draw("shift", keep=keep, classes=among), label, width)
        if top:
            other = draw_node(b, guard, Draw("shift", keep=1 / among, classes=among), label, None)
            drawn = b.op("answered", label, shift, other, classes=self.classes, top=top)
        else:
            drawn = b.op("shifted", label, shift, classes=self.classes)
        twins = self._twins(b, drawn)
        changed: dict[str, Node] = {}
        for end, read in self.ends:
            logits = graph[graph[end].inputs[0]]
            of_answers = self._bit(b, logits) if width else self._classes(b, logits, keep)
            inputs = (
                b.op("when_training", of_answers, logits).id,
                b.op("when_training", twins[read], graph[read]).id,
            )
            changed[end] = replace(graph[end], inputs=inputs)
        made = guard_of(
            protection, guard, str(label.place), "forward", (label.id,), (drawn.id,), reads=label.id
        )
        return replace(model, graph=rewired(graph, changed), guards=(*model.guards, made))

    def _twins(self, b: Build, drawn: Node) -> dict[str, Node]:
        """The drawn label in each shape that the label has on its ways."""
        twins = {self.label.id: drawn}
        for node in list(b.graph):
            if node.id in self.shaped and node.id != self.label.id:
                twins[node.id] = b.op(node.op, twins[node.inputs[0]], **node.attrs)
        return twins

    def _bit(self, b: Build, logit: Node) -> Node:
        """The logit of an answer 1, from that of the label: log((e^z·keep + flip) / (e^z·flip + keep)).

        With keep / flip = e^ε that is softplus(z + ε) - softplus(z - ε) - ε, between -ε and ε.
        """
        epsilon = b.constant(self.answers.epsilon)
        above, below = (b.op("softplus", b.op(op, logit, epsilon)) for op in ("add", "sub"))
        return b.op("sub", b.op("sub", above, below), epsilon)

    def _classes(self, b: Build, logits: Node, keep: float) -> Node:
        """Logits of the answers, from those of the label: the logarithm of each answer's chance.

        Of n classes that are answered, j is with (keep - other)·p_j + r. A label that is among them gives
        each of the others with `other`, one that is not gives each of them with 1/n: r = Σ p_i·w_i.
        """
        depth, last = logits.type.sizes[-1] or 0, logits.type.rank - 1
        among = self.answers.among or range(self.classes)
        other = (1 - keep) / (len(among) - 1)
        label = b.op("log_softmax", logits, axis=last)
        if len(among) == depth:  # r is `other` in each row, and a logit may be off by a constant
            more = b.constant(math.log((keep - other) / other))
            return b.op("softplus", b.op("add", label, more))
        weights = b.constant(tuple(other if index in among else 1 / len(among) for index in range(depth)))
        never = b.constant(tuple(0.0 if index in among else NEVER for index in range(depth)))
        shares = b.op("mul", b.op("exp", label), weights)
        rest = b.op("log", b.op("sum", shares, axes=(last,), keep=True))
        own = b.op("sub", b.op("add", label, b.constant(math.log(keep - other))), rest)
        return b.op("add", b.op("add", b.op("softplus", own), rest), never)
