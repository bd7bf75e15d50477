"""vflc in a notebook: the example as it is, in a kernel, and what the magic says of mistakes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import vflc
from vflc.api.model import Picture
from vflc.api.notebook import USAGE

PAGE = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
SPEC = """
party a {
  key ID
  feature x: float
  label y: float
}
p = dense(a.x, 1)
predict p
objective mse(p, a.y)
"""


class Shell:
    """Of IPython what the magic uses."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.magics: dict[str, Any] = {}

    def register_magic_function(self, function: Any, magic_kind: str) -> None:
        self.magics[magic_kind, function.__name__] = function

    def push(self, names: dict[str, Any]) -> None:
        self.names |= names


@pytest.fixture
def shell() -> Shell:
    found = Shell()
    vflc.load_ipython_extension(found)
    return found


def test_a_cell_is_compiled_and_bound(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    model = shell.magics["cell", "vfl"]("m", SPEC.replace("predict p\n", "predict p = p\n"))
    assert shell.names == {"m": model} and model.name == "m"
    assert capsys.readouterr().out == ""


def test_findings_are_shown_under_the_cell(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.magics["cell", "vfl"]("m", SPEC.replace("dense(", "dens(")) is None
    shown = capsys.readouterr().out
    assert "did you mean `dense`" in shown and "m.vfl:7:5" in shown and not shell.names


@pytest.mark.parametrize("line", ["", "two names", "1st"])
def test_a_cell_without_a_name_says_how(shell: Shell, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.magics["cell", "vfl"](line, SPEC) is None
    assert capsys.readouterr().out.strip() == USAGE


def test_a_diagram_is_drawn_by_the_notebook() -> None:
    picture = Picture("flowchart LR", "mermaid")
    assert picture == "flowchart LR" and picture._repr_markdown_() == "```mermaid\nflowchart LR\n```"
    assert picture._repr_svg_() is None
    drawn = Picture("<svg/>", "svg")
    assert drawn._repr_svg_() == "<svg/>" and drawn._repr_markdown_() is None


def test_curves_leave_out_what_was_not_measured(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from vflc.api.plot import curves
    from vflc.api.tables import Table

    names = ("round", "train.loss", "validation.loss", "validation.mae")
    drawn = curves(Table(names, [(1, 0.5, None, None), (2, 0.4, 0.6, 0.9), (3, 0.3, 0.5, 0.8)]))
    loss, mae = drawn.figure.axes
    assert (loss.get_title(), mae.get_title(), mae.get_xlabel()) == ("loss", "mae", "round")
    lines = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert lines == {"train": [[1, 0.5], [2, 0.4], [3, 0.3]], "validation": [[2, 0.6], [3, 0.5]]}
    assert [line.get_label() for line in mae.lines] == ["validation"]
    assert drawn._repr_png_().startswith(b"\x89PNG")
    assert drawn.save(tmp_path / "curves.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_drawing_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    folder = SimpleNamespace(history=lambda: [{"epoch": 1, "train": {"loss": 1.0}}])
    with pytest.raises(vflc.Error, match=r"pip install 'vflc\[notebook\]'") as caught:
        vflc.Run(SimpleNamespace(folder=folder)).plot()  # type: ignore[arg-type]
    assert caught.value.code == "VFL0503"


def test_the_example_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    kernel = tmp_path / "share" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    notebook = nbformat.read(PAGE, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the file in git has no outputs"
    ran = client.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [cell.outputs for cell in ran.cells if cell.cell_type == "code"]
    shown = {kind for cell in outputs for out in cell for kind in out.get("data", {})}
    assert {"text/html", "text/markdown", "image/png"} <= shown
    said = "".join(out["text"] for cell in outputs for out in cell if out.output_type == "stream")
    assert "VFL0106" in said and "did you mean `dense`" in said
    (evaluated,) = (out["data"]["text/plain"] for cell in outputs[-2:-1] for out in cell)
    assert 0.7 < float(evaluated.split("'auc': ")[1].split("}")[0].split(",")[0]) < 1
    predicted = outputs[-1][0]["data"]["text/plain"]
    assert predicted.count("'ID': 'p000") == 5 and predicted.count("'again': ") == 5
