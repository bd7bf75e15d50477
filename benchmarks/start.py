"""How long `vflc check` takes from a cold start, in times of a Python that does nothing.

    python benchmarks/start.py [SPEC] [--rounds N]

Processor time, user and system, of `vflc check SPEC` and of `python -c pass`, each in a new process, in
alternation, with byte code cached; the median of each, and the ratio of the medians. What the packages take
that every command needs is measured beside it: it is a floor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from contest import result

ROOT = Path(__file__).parents[1]
NEEDED = "click, msgspec, pathlib"
ENTRY = "from vflc.cli.main import main; main()"
"""What the installed command does."""


def seconds(*arguments: str) -> float:
    """Processor time of one Python."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"python {' '.join(arguments)} fails")
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("spec", nargs="?", default=str(ROOT / "specs" / "deepfm" / "deepfm.vfl"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    given = parser.parse_args()
    ways = {
        "python -c pass": ("-c", "pass"),
        f"import {NEEDED}": ("-c", f"import {NEEDED}"),
        f"vflc check {given.spec}": ("-c", ENTRY, "check", given.spec),
    }
    for arguments in ways.values():  # byte code is written
        seconds(*arguments)
    rounds = [{way: seconds(*arguments) for way, arguments in ways.items()} for _ in range(given.rounds)]
    typical = {way: median(each[way] for each in rounds) for way in ways}
    bare = typical["python -c pass"]
    for way, each in typical.items():
        print(f"{1000 * each:7.1f} ms  {each / bare:5.1f} times  {way}")
    if given.json:
        _, imports, check = ([1000 * each[way] for each in rounds] for way in ways)
        found = result("vflc check beside three imports", 1, check, imports, "ms")
        given.json.write_text(json.dumps([found], indent=1) + "\n")


if __name__ == "__main__":
    main()
