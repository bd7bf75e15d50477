"""The README's commands run as they are written there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

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
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=copy, env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
