"""The README's commands run as they are written there."""

import re
import shutil
from pathlib import Path

from forked import typed

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- test -->\s*```sh\n(.*?)```", re.DOTALL)


def test_commands_of_the_readme(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text("utf-8"))
    assert blocks, "README.md marks its commands with <!-- test -->"
    script = "\n".join(blocks)
    for much, little in (
        ("--steps 40 ", "--steps 1 "),  # of the attacks, which tests/audit tries for longer
        ("--generate 20000 ", "--generate 2000 "),
    ):
        assert script.count(much) == 1
        script = script.replace(much, little)
    copy = tmp_path / "vflc"
    shutil.copytree(ROOT / "specs", copy / "specs", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "build").mkdir()
    lines = [line for line in script.replace("\\\n", " ").splitlines() if line]
    assert sum(line.startswith("vflc ") for line in lines) > 8
    for line in lines:
        done = typed(line, copy)
        assert (done.returncode != 0) == ("||" in line), line + done.stdout + done.stderr
