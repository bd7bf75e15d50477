"""Random specs in which secrets go different ways: through weights alone, sums over a batch, not at all."""

from __future__ import annotations

from granting import granted
from hypothesis import strategies as st

PARTIES = ("alice", "bob", "carol")
BOTTOMS = (
    "dense(flatten(embed({p}.features, dim = 2)), 3)",
    "dense({p}.x, 3, activation = tanh)",
    "batch_norm(dense({p}.x, 3))",
    "sum(embed([{p}.c, {p}.m], dim = 3), axis = field)",
    "dropout(relu(dense({p}.x, 3)), 0.2)",
    "gru(lookup(table(4, 2), {p}.s), 3, mask = present({p}.s))",
    "flatten(max_pool1d(conv1d(lookup(table(4, 2), {p}.s), 3, size = 2)))",
)
OTHERS = (
    "bpr(dense({p}_low, 1), sampled(dense({p}_low, 1)))",
    "info_nce(dense({p}_low, 2), dense({p}.x, 2))",
    "triplet({p}_low, dense({p}.x, 3), sampled(dense({p}.x, 3)))",
)
"""Losses that take other rows of the batch."""


@st.composite
def learn_specs(draw: st.DrawFn) -> str:
    """Each party has a bottom, perhaps frozen, and perhaps a task of its own; some bottoms meet."""
    names = PARTIES[: draw(st.integers(2, 3))]
    lines = [
        f"party {p} {{\n  key ID\n  feature x: float\n  feature c: int -> index(5)\n"
        f'  feature m: string -> split(" ") -> hash(4)\n  label y = v > 0\n  label z = w\n'
        "  feature s: list(int) -> index(4) -> sequence(max = 3)\n"
        "  column v: float\n  column w: float\n}"
        for p in names
    ]
    terms = []
    for p in names:
        lines.append(f"{p}_low = {draw(st.sampled_from(BOTTOMS)).format(p=p)}")
        frozen = draw(st.booleans())
        lines.append(f"{p}_out = {'stop_gradient' if frozen else ''}({p}_low)")
        if draw(st.booleans()):
            terms.append(f"mse(dense({p}_low, 1), {p}.z)")
        if draw(st.booleans()):
            terms.append(draw(st.sampled_from(OTHERS)).format(p=p))
    if draw(st.booleans()):  # a table that is fitted to a party's bins and another's labels, where these are
        bins, labels = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        terms.append(f"mse(dense(woe([{bins}.c], {labels}.y), 1), {draw(st.sampled_from(names))}.z)")
    owner = draw(st.sampled_from(names))
    chosen = [p for p in names if draw(st.booleans())] or [names[0]]
    place = draw(st.sampled_from(names))
    lines.append(f"h = dense(concat({', '.join(f'{p}_out' for p in chosen)}), 3) at {place}")
    lines.append(f"logit = dense(tanh(h), 1) at {owner}")
    lines.append(
        f"predict y = sigmoid(logit)\nobjective {' + '.join(['bce(logit, ' + owner + '.y)', *terms])}"
    )
    lines.append(f"train {{ optimizer {draw(st.sampled_from(('sgd(lr = 0.1)', 'adam(lr = 0.01)')))} }}")
    return granted("\n".join(lines) + "\n")
