"""The README's commands run as they are written there."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from forked import completed

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- test -->\s*```sh\n(.*?)```", re.DOTALL)


def ran(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of ours in a process that need not start, any other in a shell."""
    program, *arguments = shlex.split(line.partition("||")[0])
    if program == "vflc":
        return completed("vflc", *arguments, cwd=folder)
    if program == "python":
        return completed(folder / arguments[0], *arguments[1:], cwd=folder)
    return subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True)


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
        done = ran(line, copy)
        assert (done.returncode != 0) == ("||" in line), line + done.stdout + done.stderr
