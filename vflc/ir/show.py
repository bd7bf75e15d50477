"""A graph and a schedule as text, for snapshots and for people who debug the compiler."""

from __future__ import annotations

from vflc_common.words import PROGRAMS

from vflc.ir.graph import Graph, Node
from vflc.ir.model import Model


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


def show_schedule(model: Model) -> str:
    """Every place's programs, step by step, and what each stage reads and leaves."""
    lines: list[str] = []
    for schedule in model.schedules:
        for program in PROGRAMS:
            steps = schedule.programs[program]
            lines.append(
                f"{schedule.place} {program}: " + (", ".join(f"{s.do} {s.what}" for s in steps) or "nothing")
            )
            for stage in schedule.stages[program]:
                lines.append(f"  {stage.name}: {len(stage.nodes)} nodes")
                lines.append(f"    reads  {', '.join(stage.inputs) or '–'}")
                lines.append(f"    leaves {', '.join(stage.outputs) or '–'}")
    return "\n".join(lines) + "\n"
