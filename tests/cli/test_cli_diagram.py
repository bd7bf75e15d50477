"""`vflc graph`: pictures of a spec and of a bundle as files of four kinds."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from signing import sign

from vflc import driver
from vflc.cli.main import run

SPECS = Path(__file__).parents[2] / "specs"
SPEC = SPECS / "deepfm" / "deepfm.vfl"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "deepfm"
    driver.compile_spec(SPEC).write(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "start"),
    [("p.svg", "<svg"), ("p.HTML", "<!doctype html>"), ("p.mmd", "flowchart"), ("p.dot", "digraph")],
    ids=["svg", "html", "mmd", "dot"],
)
def test_the_name_of_the_file_says_what_it_is(tmp_path: Path, name: str, start: str) -> None:
    assert run(["graph", str(SPEC), "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text("utf-8").startswith(start)


def test_mermaid(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", str(SPEC), "--boxes", "0"]) == 0
    assert (
        capsys.readouterr().out
        == """flowchart TB
  subgraph place0["alice"]
    box0[["4 features<br>UserID, Gender, Age, Occupation"]]
    box3[["a<br>15 values"]]
  end
  subgraph place1["bob"]
    box1[["2 features<br>MovieID, Genres"]]
    box2["liked<br>label: computed"]
    box4[["b<br>22 values"]]
    box5["v<br>add [16]"]
    box6[["fm<br>8 values"]]
    box7[["logit<br>9 values"]]
    box8(["liked<br>prediction: sigmoid [1]"])
    box9[["objective<br>2 values"]]
  end
  box10{{"4 values<br>→ bob: 200 B a row<br>tells at most the codes of 4 columns<br>← 4 gradients: 200 B a row<br>tells at most the codes of 3 columns<br>exact label"}}
  box3 <==> box10
  box0 --> box3
  box1 --> box4
  box10 ==> box5
  box4 --> box5
  box10 ==> box6
  box4 --> box6
  box5 --> box6
  box10 ==> box7
  box4 --> box7
  box6 --> box7
  box7 --> box8
  box7 --> box9
  box2 --> box9
"""  # noqa: E501
    )


def test_blocks_fold_and_unfold(capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*options: str) -> str:
        assert run(["graph", str(SPEC), *options]) == 0
        return capsys.readouterr().out

    assert "logit.mlp.1.relu" in shown("--unfold", "logit.mlp.1") and "logit.mlp.1.relu" not in shown()
    assert '"a.v<br>' in shown() and '"a.v<br>' not in shown("--fold", "a")
    assert shown("--boxes", "1000").count("[[") == 0


def test_a_page_begins_with_what_was_asked_for(tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    assert run(["graph", str(SPEC), "--fold", "a", "-o", str(page)]) == 0
    (first,) = [
        part for part in page.read_text("utf-8").split('<div class="level"') if part.startswith(" data-first")
    ]
    assert 'data-name="a"' in first and 'data-name="a.v"' not in first


def test_a_name_that_says_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", str(SPEC), "-o", str(tmp_path / "p.png")]) == 2
    assert "`.png` is none of .svg" in capsys.readouterr().err
    assert run(["graph", str(SPEC), "-o", str(tmp_path / "p.png"), "--format", "dot"]) == 0


def test_a_block_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", str(SPEC), "--unfold", "logit.mpl"]) == 2
    assert "there is no block `logit.mpl`; did you mean `logit.mlp`?" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")
def test_graphviz_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", str(SPEC), "--format", "dot"]) == 0
    text = capsys.readouterr().out
    subprocess.run(["dot", "-Tcanon"], input=text, text=True, check=True, capture_output=True)


def test_a_bundle_is_drawn_without_its_spec(bundle: Path, tmp_path: Path) -> None:
    assert run(["graph", str(bundle), "-o", str(tmp_path / "p.svg")]) == 0
    text = "\n".join(ET.fromstring((tmp_path / "p.svg").read_text("utf-8")).itertext())
    assert "→ bob: 200 B a row" in text and "what runs here" in text


@pytest.mark.parametrize("change", ["sizes", "places", "learned"])
def test_a_bundle_that_does_not_say_it_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "manifest.json").read_bytes())
    if change == "sizes":
        manifest["edges"][0]["bytes_per_row"] = "many"
    elif change == "places":
        manifest["edges"][0]["depends_on"] = manifest["edges"][0].pop("to")
    else:
        manifest["learned"][0]["bound"] = {"kind": "some"}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    sign(copy)
    assert run(["graph", str(copy)]) == 1
    assert "VFL0613" in capsys.readouterr().err


def test_a_spec_with_mistakes_is_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.vfl"
    path.write_text(SPEC.read_text("utf-8").replace("alice.features", "alice.feature"), "utf-8")
    assert run(["graph", str(path), "-o", str(tmp_path / "p.svg")]) == 1
    assert "VFL01" in capsys.readouterr().err and not (tmp_path / "p.svg").exists()


def test_a_population_says_what_users_ask_for_and_send_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", str(SPECS / "fedrecon" / "fedrecon.vfl")]) == 0
    text = capsys.readouterr().out
    assert (
        "items.ids" in text and "→ users: 200 B a row of it" in text and "← change: 200 B a row of it" in text
    )


HOSTILE = """\
party alice {
  key ID
  feature "<script>alert(1)</script> \\u{202E}": float as x -> standardize
}
party bob {
  key ID
  label y: float
}
out = dense(alice.x, 1)
predict y = out
objective mse(out, bob.y)
"""


@pytest.mark.parametrize("form", ["svg", "html", "mmd", "dot"])
def test_what_a_table_calls_a_column_is_only_text(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "<script>alert(2)<!--.vfl"
    path.write_text(HOSTILE, "utf-8")
    assert run(["check", "--fix", str(path)]) == 0
    out = tmp_path / f"picture.{form}"
    assert run(["graph", str(path), "-o", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f"wrote {out}\n")
    text = out.read_text("utf-8")
    assert "\u202e" not in text
    assert form == "dot" or "<script>alert" not in text  # where it is in quotes
    if form == "svg":
        assert "in the table: <script>alert(1)" in "".join(ET.fromstring(text).itertext())
