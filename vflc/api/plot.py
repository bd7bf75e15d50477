"""The curves of a run: a panel for the loss and each metric, with lines for training and validation rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vflc.diagnostics import Diagnostic, Refused

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vflc.api.tables import Table

WIDTH, HEIGHT = 3.6, 2.6
"""Of a panel, in inches."""
COLOURS = {"train": "#4c72b0", "validation": "#dd8452"}


class Curves:
    """A drawing of a run's history, which a notebook shows.

    Attributes:
        figure: the Matplotlib figure, which you can change or save in other ways.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def __repr__(self) -> str:
        return '<curves of a run: drawn in a notebook; .save("curves.svg") writes them>'

    def _repr_png_(self) -> bytes:
        from io import BytesIO

        picture = BytesIO()
        self.figure.savefig(picture, format="png", dpi=120)
        return picture.getvalue()

    def save(self, file: str | Path) -> Path:
        """Writes the drawing to a file; the end of its name decides the format: `.png`, `.svg` or `.pdf`."""
        self.figure.savefig(file)
        return Path(file)


def curves(history: Table) -> Curves:
    """Draws a history against its first column, epochs or rounds. What was not measured is left out.

    Raises:
        Refused: VFL0503, Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        help = "pip install 'vflc[notebook]'"
        raise Refused([Diagnostic("VFL0503", "drawing needs Matplotlib", None, help)]) from None

    measured = [name.partition(".")[::2] for name in history.columns]
    panels = list(dict.fromkeys(measure for rows, measure in measured if measure))
    figure = Figure(figsize=(WIDTH * max(len(panels), 1), HEIGHT), layout="constrained")
    along = history.columns[0]
    for number, measure in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        for rows in (rows for rows, other in measured if other == measure):
            points = zip(history[along], history[f"{rows}.{measure}"], strict=True)
            known = [(x, y) for x, y in points if y is not None]
            if known:
                axes.plot(*zip(*known, strict=True), marker=".", label=rows, color=COLOURS.get(rows))
        axes.set(title=measure, xlabel=along)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False)
    return Curves(figure)
