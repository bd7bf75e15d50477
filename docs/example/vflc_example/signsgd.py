"""Steps of one size, each down its gradient's sign (Bernstein et al. 2018)."""

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.optimizer import Optimizer, Updated
from vflc.ops.rates import rate
from vflc.ops.registry import Options


def update(b: Build, weight: Node, gradient: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    """The weight after a step, and no slots."""
    return b.op("sub", weight, b.op("mul", rate(b, step, o["lr"]), b.op("sign", gradient))), {}


OPTIMIZER = Optimizer(
    name="signsgd",
    doc="Steps of one size, each down its gradient's sign (Bernstein et al. 2018).",
    parameters={"lr": 0.001},
    make_slots=lambda o: {},
    make_update=update,
)
