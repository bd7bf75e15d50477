"""Runs all benchmarks and writes docs/benchmarks.md, and README's table from it.

    python benchmarks/report.py [--quick] [--out FILE] [--only NAME …]

Take a machine with nothing else to do, and the Python of `make peers`, which `make benchmarks` uses. It takes
10 to 20 minutes. `--quick` runs every benchmark at its least, to try it. A benchmark whose packages are
missing is left out, and the page says so. `--out` writes another file, and leaves README alone; with it,
`--only` runs some.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import timeit
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from sections import SECTIONS, Section
from vflc_runtime.blas import one_thread

HERE = Path(__file__).resolve().parent
README, PAGE = HERE.parent / "README.md", HERE.parent / "docs" / "benchmarks.md"
PACKAGES = ("vflc", "numpy", "onnxruntime", "duckdb", "pyarrow", "tensorflow", "keras", "torch", "jax")
MARKS = ("<!-- benchmarks -->", "<!-- /benchmarks -->")
READING = (
    "Every figure is from one run. A ratio is taken within a round, in which all sides take turns; its "
    "column has the median of the rounds, and the last one their range. Where nothing else is said, more "
    "is better, and a ratio below 1 means that vflc is slower. Rates are of one machine; compare ratios."
)
WIDTH = 120
LIMIT = 600
"""Seconds of one benchmark."""
Results = list[dict[str, Any]]


def measured(section: Section, quick: bool) -> tuple[Results, list[str]]:
    """What a benchmark found, and what it has to say besides."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        file, *options = section.command
        command = [
            sys.executable,
            str(HERE / file),
            *options,
            *(section.quick if quick else ()),
            "--json",
            str(out),
        ]
        print(f"{section.title} …", flush=True)
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return [], [f"Left out: it took longer than {LIMIT / 60:.0f} minutes."]
        if not out.exists():
            said = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
            return [], [f"Left out: {said}."]
        notes = [
            line.strip() for line in done.stdout.splitlines() if line.startswith(("missed:", "an epoch"))
        ]
        return json.loads(out.read_text()), [note[0].upper() + note[1:] + "." for note in notes]


def number(value: float) -> str:
    """Three digits and more, as a person writes them."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(section: Section, results: Results) -> list[str]:
    """Of what was found, worse results like better ones."""
    ours, peer = section.columns
    lines = [
        f"| | size | {ours} | {peer} | unit | ratio | rounds |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for found in results:
        spread = f"{found['least']:.2f} to {found['most']:.2f}" if "least" in found else ""
        size = f"{found['batch']:,}" if found["batch"] else ""
        cells = (found["name"], size, number(found["ours"]), number(found["peer"]), found["unit"])
        lines.append(f"| {' | '.join(cells)} | {found['ratio']:.2f} | {spread} |")
    return lines


def wrapped(text: str) -> list[str]:
    """A paragraph in lines that are not too long."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def processor() -> str:
    """Model, features that matter and number of cores; never a name of the machine."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    flags = set((re.search(r"^flags\s*:\s*(.+)$", text, re.M) or [" ", ""])[1].split())
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model[1] if model else platform.processor()}, {cores} cores ({', '.join(known) or 'no AVX2'})"


def rate() -> str:
    """What a core multiplies at most, as processors of one name are far apart."""
    size = 1024
    a, b, out = (np.ones((size, size), np.float32) for _ in range(3))
    with one_thread():
        taken = min(timeit.repeat(lambda: np.matmul(a, b, out=out), number=1, repeat=50))
    return f"{2 * size**3 / taken / 1e9:.0f} GFLOP/s on one core, by numpy's BLAS in float32"


def versions() -> str:
    """Of Python and of what was measured."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    import vflc_kernels

    why_not = vflc_kernels.why_not()
    return ", ".join([*found, f"vflc's kernels left out: {why_not}" if why_not else "vflc's kernels built"])


def page(found: list[tuple[Section, Results, list[str]]], load: float, seconds: float, quick: bool) -> str:
    """The whole page."""
    command = "`make benchmarks`" + (" in its quick form, whose figures mean little" if quick else "")
    lines = ["# Benchmarks", ""]
    lines += wrapped(f"Written by {command}: change `benchmarks/sections.py`, not this page. {READING}")
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    lines += ["", f"- {when}, in {seconds / 60:.0f} minutes", f"- {processor()}", f"- {rate()}"]
    lines += [f"- load before it began: {load:.1f}", *wrapped(f"- {versions()}"), ""]
    for section, results, notes in found:
        lines += [f"## {section.title}", "", *wrapped(section.text), ""]
        lines += [f"`python benchmarks/{' '.join(section.command)}`", ""]
        if results:
            lines += [*table(section, results), ""]
        for note in notes:
            lines += [*wrapped(note), ""]
    return "\n".join(lines).rstrip() + "\n"


def into_readme(text: str, results: Results) -> str:
    """README with its table of DeepFM beside Keras and beside the fastest."""
    rows = [f for f in results if f["name"].endswith(("Keras `fit`", "the fastest"))]
    lines = ["| batch | beside | vflc, rows a second | other | ratio | rounds |"]
    lines.append("| ---: | --- | ---: | ---: | ---: | ---: |")
    for found in rows:
        lines.append(
            f"| {found['batch']:,} | {found['name'].partition(' beside ')[2]} | {number(found['ours'])} | "
            f"{number(found['peer'])} | {found['ratio']:.2f} | {found['least']:.2f} to {found['most']:.2f} |"
        )
    start, end = MARKS
    before, _, rest = text.partition(start)
    return f"{before}{start}\n" + "\n".join(lines) + f"\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Runs all, and writes."""
    names = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="every benchmark at its least")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write this file, and not README")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    options = parser.parse_args()
    if options.only and options.out is None:
        parser.error("--only needs --out: the page has all")
    load, start = os.getloadavg()[0], time.perf_counter()
    chosen = [section for section in SECTIONS if section.name in (options.only or names)]
    found = [(section, *measured(section, options.quick)) for section in chosen]
    text = page(found, load, time.perf_counter() - start, options.quick)
    (options.out or PAGE).write_text(text)
    deepfm = next((results for section, results, _ in found if section.name == "deepfm"), [])
    if options.out is None and deepfm:
        README.write_text(into_readme(README.read_text(), deepfm))
    print(f"{options.out or PAGE.relative_to(HERE.parent)} is written")


if __name__ == "__main__":
    main()
