"""Which files a spec may use: `.vfl` files at or below its folder, whatever the name says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vflc.diagnostics import Diagnostic
from vflc.diagnostics.render_json import render as as_json
from vflc.diagnostics.render_sarif import render as as_sarif
from vflc.diagnostics.render_text import render as as_text
from vflc.driver import check
from vflc.passes.lower.modules import MOST_FILES
from vflc.syntax.parser import MAX_BYTES, MAX_CHARACTERS

SECRET = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0 of alice\n"
TOWER = "block Tower(x) {\n  return mlp(x, [4])\n}\n"
SPEC = """
party alice {
  key ID
  feature Age: float
  column Seen: int
  label y = Seen > 3
}
logit = dense(Tower(alice.Age), 1)
predict y = sigmoid(logit)
objective bce(logit, alice.y)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a spec, with secrets in it and around it."""
    folder = tmp_path / "spec"
    folder.mkdir()
    for place in (folder / "alice.key", tmp_path / "alice.key", tmp_path / "outside.vfl"):
        place.write_text(SECRET)
    return folder


def found(folder: Path, name: str) -> list[Diagnostic]:
    path = folder / "model.vfl"
    path.write_text(f'use "{name}".{{Tower}}\n{SPEC}')
    return check(path)


def refused(folder: Path, name: str) -> Diagnostic:
    """The one finding; none of its renderings shows what is in a file that may not be used."""
    diagnostics = found(folder, name)
    for render in (as_text, as_json, as_sarif):
        assert not any(word in render(diagnostics) for word in ("PRIVATE", "c2Vjcm", "root:"))
    (diagnostic,) = diagnostics
    assert diagnostic.span is not None and diagnostic.span.source.name.endswith("model.vfl")
    return diagnostic


@pytest.mark.parametrize("name", ["towers.vfl", "blocks/towers.vfl", "blocks/../towers.vfl", "./towers.vfl"])
def test_files_at_or_below_the_folder_are_used(folder: Path, name: str) -> None:
    (folder / "blocks").mkdir()
    (folder / name).write_text(TOWER)
    assert not [d for d in found(folder, name) if d.level == "error"]


def test_a_file_below_uses_one_beside_the_spec(folder: Path) -> None:
    (folder / "blocks").mkdir()
    (folder / "base.vfl").write_text(TOWER)
    (folder / "blocks" / "towers.vfl").write_text(
        'use "../base.vfl"\nblock Two(x) {\n  return Tower(Tower(x))\n}\n'
    )
    (folder / "model.vfl").write_text('use "blocks/towers.vfl".{Two}\n' + SPEC.replace("Tower", "Two"))
    assert not [d for d in check(folder / "model.vfl") if d.level == "error"]


@pytest.mark.parametrize("name", ["alice.key", "model", "alice.key.VFL", "alice.vfl.key", ".vfl"])
def test_only_vfl_files(folder: Path, name: str) -> None:
    (folder / name).write_text(SECRET)
    assert refused(folder, name).message == f"{name} is not a .vfl file"


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../alice.key", "../outside.vfl", "blocks/../../outside.vfl", "../spec/../outside.vfl",
     "../no such file.vfl", ""],
)  # fmt: skip
def test_nothing_outside_the_folder(folder: Path, name: str) -> None:
    (folder / "blocks").mkdir()
    diagnostic = refused(folder, name)
    outside = f"{name} is outside the folder of the spec"
    assert diagnostic.message == (outside if name else " is not a .vfl file")


def test_an_absolute_path_to_a_file_beside_the_spec(folder: Path) -> None:
    (folder / "towers.vfl").write_text(TOWER)
    assert "outside" in refused(folder, str(folder / "towers.vfl")).message


@pytest.mark.parametrize("target", ["../outside.vfl", "../alice.key", "alice.key", "/dev/zero"])
def test_a_link_is_what_it_leads_to(folder: Path, target: str) -> None:
    (folder / "towers.vfl").symlink_to(target)
    assert refused(folder, "towers.vfl").code == "VFL0108"


def test_a_linked_folder(folder: Path) -> None:
    (folder / "blocks").symlink_to("..")
    assert "outside" in refused(folder, "blocks/outside.vfl").message


def test_a_spec_in_a_linked_folder(folder: Path) -> None:
    (folder / "towers.vfl").write_text(TOWER)
    (folder.parent / "link").symlink_to("spec")
    assert not [d for d in found(folder.parent / "link", "towers.vfl") if d.level == "error"]


def test_a_file_below_may_not_leave_the_folder_of_the_spec(folder: Path) -> None:
    (folder / "towers.vfl").write_text('use "../outside.vfl"\n' + TOWER)
    (diagnostic,) = found(folder, "towers.vfl")
    assert "outside the folder" in diagnostic.message and "PRIVATE" not in as_text([diagnostic])


def test_what_is_no_regular_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe.vfl")  # opening it would wait for ever
    (folder / "dir.vfl").mkdir()
    (folder / "circle.vfl").symlink_to("circle.vfl")
    assert refused(folder, "pipe.vfl").message == "pipe.vfl is not a file"
    assert refused(folder, "dir.vfl").message == "dir.vfl is not a file"
    assert refused(folder, "circle.vfl").code == "VFL0108"
    assert refused(folder, "gone.vfl").message == "there is no file gone.vfl"
    assert refused(folder, r"a\u{0}b.vfl").code == "VFL0108"
    assert refused(folder, "a" * 5000 + ".vfl").code == "VFL0108"


def test_a_huge_file_is_not_read(folder: Path) -> None:
    with (folder / "towers.vfl").open("wb") as file:
        file.truncate(1 << 40)  # a hole: reading it all would take memory that nobody has
    assert "more than" in refused(folder, "towers.vfl").message


def test_a_device_as_a_spec_is_read_no_further_than_a_spec_may_be() -> None:
    (diagnostic,) = check(Path("/dev/zero"))
    assert diagnostic.code == "VFL0008" and MAX_BYTES < 10 * MAX_CHARACTERS


def test_many_files_are_one_budget(folder: Path) -> None:
    for number in range(MOST_FILES + 5):
        (folder / f"t{number}.vfl").write_text(f'use "t{number + 1}.vfl"\n')
    (diagnostic,) = [d for d in found(folder, "t0.vfl") if d.code == "VFL0008"]
    assert f"more than {MOST_FILES} files" in diagnostic.message
    for number in range(3):
        comment = "# " + "x" * 70 + "\n"
        text = comment * (MAX_CHARACTERS // 2 // len(comment))
        (folder / f"t{number}.vfl").write_text(f'use "t{number + 1}.vfl"\n{text}')
    (diagnostic,) = [d for d in found(folder, "t0.vfl") if d.code == "VFL0008"]
    assert "characters in all" in diagnostic.message
