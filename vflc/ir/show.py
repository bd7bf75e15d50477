"""A model as text, for snapshots and for people who debug the compiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vflc.ir.graph import Graph, Node
from vflc.ir.stages import (
    ByMode,
    Differentiated,
    Lowered,
    Optimized,
    Partitioned,
    Placed,
    Scheduled,
    Vectorised,
)


def show_graph(graph: Graph) -> str:
    """One line a node: `id @place = op(inputs) {attrs} : type <- sources`."""
    return "\n".join(_line(node) for node in graph) + "\n"


def _line(node: Node) -> str:
    attrs = {key: value for key, value in node.attrs.items() if key not in ("name", "party")}
    shown = " {" + ", ".join(f"{key}={value}" for key, value in attrs.items()) + "}" if attrs else ""
    place = f" @{node.place}" if node.place else ""
    sources = f" <- {', '.join(sorted(map(str, node.sources)))}" if node.sources else ""
    mark = "'" if node.phase == "backward" else ""
    return f"{node.id}{mark}{place} = {node.op}({', '.join(node.inputs)}){shown} : {node.type}{sources}"


def show_ops(graph: Graph) -> str:
    """How many nodes of each op there are, a line for each place and phase."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for node in graph:
        found.setdefault((node.place or "anywhere", node.phase), Counter())[node.op] += 1
    return "".join(
        f"{place} {phase}: {', '.join(f'{n} {op}' for op, n in sorted(ops.items()))}\n"
        for (place, phase), ops in sorted(found.items())
    )


def show_model(model: Lowered) -> str:
    """All that a model has at its stage: graphs, gradients, updates, edges, messages and schedules."""
    parts = {"graph": show_graph(model.graph)}
    if isinstance(model, ByMode):
        parts["inference"] = show_graph(model.inference)
    if isinstance(model, Placed):
        parts["guards"] = _lines(f"{g.id} @{g.place}: {g.before} -> {g.after}" for g in model.guards)
    if isinstance(model, Differentiated):
        parts["gradients"] = _lines(f"{g.weight}: {g.dense or g.rows}" for g in model.gradients)
    if isinstance(model, Optimized):
        updates = (f"{u.id} @{u.place}: {', '.join(u.arrays)} by {u.optimizer}" for u in model.updates)
        parts["updates"] = _lines(updates)
    if isinstance(model, Partitioned):
        parts["edges"] = _lines(
            f"{e.id}: {e.source} -> {e.target} {e.phase} in {', '.join(e.programs)}" for e in model.edges
        )
        parts["messages"] = _lines(f"{m.id}: {', '.join(m.edges)}" for m in model.messages)
    if isinstance(model, Scheduled):
        parts["schedules"] = show_schedule(model)
    if isinstance(model, Vectorised):
        client = model.client
        parts |= {"client": show_graph(client.forward)}
        parts |= {f"client, {phase}": show_graph(graph) for phase, graph in client.graphs.items()}
    return "\n".join(f"[{name}]\n{text}" for name, text in parts.items() if text.strip())


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def show_schedule(model: Scheduled, stages: bool = True) -> str:
    """Every place's programs, step by step, and with `stages` what each one reads and leaves."""
    lines: list[str] = []
    for schedule in model.schedules:
        for program in model.programs:
            steps = schedule.programs[program]
            lines.append(
                f"{schedule.place} {program}: " + (", ".join(f"{s.do} {s.what}" for s in steps) or "nothing")
            )
            for stage in schedule.stages[program] if stages else ():
                lines.append(f"  {stage.name}: {len(stage.nodes)} nodes")
                lines.append(f"    reads  {', '.join(stage.inputs) or '–'}")
                lines.append(f"    leaves {', '.join(stage.outputs) or '–'}")
    return "\n".join(lines) + "\n"
