"""Features that are made of the column of a label which the model is to predict."""

from __future__ import annotations

from vflc.diagnostics import DiagnosticCollector, RelatedSpan
from vflc.ir.graph import Graph
from vflc.ir.stages import Lowered
from vflc.passes.learn.bounds import declared, made_of


def check_features(model: Lowered, graph: Graph, collector: DiagnosticCollector) -> None:
    """Warns of a prediction that reads what it is compared with, by another name.

    Args:
        model: with its predictions.
        graph: in which they are computed, and measured.
        collector: takes the warnings.
    """
    columns = declared(model)
    for prediction in model.predictions:
        if prediction.label is None:
            continue
        labels = [source for source in graph[prediction.label].sources if source.label]
        made = {label: made_of(label, columns) for label in labels}
        owners = {label.party for label in labels}
        own = [each for each in graph[prediction.node].sources if each.party in owners and not each.label]
        for source in sorted(own, key=str):
            for label in labels:
                both = [name for name in made_of(source, columns) if name in made[label]]
                if both and source.party == label.party:
                    collector.warning(
                        "VFL0161",
                        f"the feature {source} and the label {label} are both made from {', '.join(both)}; "
                        f"`{prediction.name}` predicts that label",
                        columns[source.party, source.name].span,
                        "remove the feature: as long as the label is unknown, so is this feature",
                        RelatedSpan(columns[label.party, label.name].span, "the label"),
                    )
