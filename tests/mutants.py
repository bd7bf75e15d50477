"""What the tests of a folder do not notice: changes by Cosmic Ray, one at a time, and who survives.

    make mutants FOLDER=protect SAMPLE=60 [SEED=7] [JOBS=2]    (two samples: SEED="7 8")
    make mutants FOLDER=protect SEED=7 AGAIN=1 [TESTS=tests/protect/test_protect_sums.py]

A *place* is a piece of source that can be changed in one or several ways (`<` into `<=`, `==`, …). Of the
places of a folder a sample is drawn and each is changed in one way, so that arithmetic, which has most ways,
does not count most. Changes of annotations are none, nor is a data class that is not frozen, nor `is`
for `==`, nor what is imported for a type checker.
`mutants_run.py` runs the tests.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import random
import secrets
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import mutants_run
from mutants_run import KILLED, ROOT, SLOW, SURVIVED, Mutant, python_files

TABLE = Path(__file__).with_suffix(".toml")
KEPT = ROOT / "build" / "mutants"
"""Results by folder and seed, for those that are tried again."""


SAME = {f"core/ReplaceComparisonOperator_{ways}" for ways in ("Eq_Is", "Is_Eq", "NotEq_IsNot", "IsNot_NotEq")}
"""Whether equal things are one thing is for Python to say, and no mistake that anybody makes."""
Result = tuple[Mutant, str]
"""A mutant and KILLED, SURVIVED or SLOW."""


def places(path: str, code: str) -> list[list[tuple[str, str, int]]]:
    """The places of a file; each is the list of its ways: file, operator, occurrence."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(code)))
    found: dict[Any, list[tuple[str, str, int]]] = {}
    for name in operator_names():
        kind = get_operator(name)
        if name == "core/NoOp" or kind.arguments():
            continue
        operator = kind()
        spans = [span for node in nodes for span in operator.mutation_positions(node)]
        for occurrence, span in enumerate(spans):
            found.setdefault((span, name.partition("_")[0]), []).append((path, name, occurrence))
    return [found[key] for key in sorted(found)]


def mutant(code: str, path: str, operator: str, occurrence: int) -> tuple[Mutant, str] | None:
    """A change with the changed file; None where nothing of it is run, as in an annotation.

    Nor is one that no Python can read: `**` before what is unpacked is no power.
    """
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    if operator in SAME:
        return None
    try:
        changed = mutate_code(code, get_operator(operator)(), occurrence)
        if changed is None or meaning(changed) == meaning(code):
            return None
    except (AttributeError, SyntaxError):  # Cosmic Ray cannot exchange an exception with a dotted name
        return None
    pairs = zip(code.splitlines(), changed.splitlines(), strict=False)
    line, (was, now) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    return Mutant(path, operator, line, was.strip(), now.strip()), changed


def found_again(one: Mutant, root: Path) -> tuple[Mutant, str] | None:
    """The same change of the file as it is in `root`, next to where it was; None where the line is gone."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator

    code = (root / one.path).read_text("utf-8")
    lines, operator = code.splitlines(), get_operator(one.operator)()
    spans = [span for node in ast_nodes(get_ast(code)) for span in operator.mutation_positions(node)]
    made = [
        mutant(code, one.path, one.operator, occurrence)
        for occurrence, ((line, _), _) in enumerate(spans)
        if one.was in map(str.strip, lines[max(line - 2, 0) : line + 1])  # a decorator's is the line before
    ]
    same = [new for new in made if new is not None and new[0].listed() == one.listed()]
    return min(same, key=lambda new: abs(new[0].line - one.line), default=None)


def meaning(code: str) -> str:
    """The syntax tree without annotations; a SyntaxError where there is none.

    Without `frozen` and `slots` of records and data classes, too: mypy sees who assigns what is frozen. And
    without the samples that tests run ops on, what draws them by a generator `rng`, and whether it is for a
    type checker that something is imported.
    """
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "dataclass":
            node.keywords = [each for each in node.keywords if each.arg not in ("frozen", "slots")]
        elif isinstance(node, ast.ClassDef):
            node.keywords = [each for each in node.keywords if each.arg != "frozen"]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Sample":
            node.args, node.keywords = [], []
        elif isinstance(node, ast.Lambda | ast.FunctionDef) and [a.arg for a in node.args.args] == ["rng"]:
            node.body = ast.Constant(None) if isinstance(node, ast.Lambda) else []
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "not TYPE_CHECKING"):
            node.test = ast.Constant(None)
    return ast.dump(tree)


def drawn(
    sources: list[str], sample: int, seed: int, equivalent: list[dict[str, str]], root: Path
) -> Iterator[tuple[Mutant, str]]:
    """`sample` mutants of the places of a folder in `root`, in random order; no equivalent ones."""
    files = [path for source in sources for path in python_files(root / source)]
    codes = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in files}
    all_places = [place for path, code in codes.items() for place in places(path, code)]
    chance = random.Random(seed)
    chance.shuffle(all_places)
    print(f"{len(all_places)} places in {len(codes)} files, seed {seed}", flush=True)
    count = 0
    for ways in all_places:
        path, operator, occurrence = chance.choice(ways)
        one = mutant(codes[path], path, operator, occurrence)
        if one is None or one[0].listed() in equivalent:
            continue
        yield one
        count += 1
        if count == sample:
            return


def interval(killed: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, killed / of
    middle, half = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def main() -> None:
    table = tomllib.loads(TABLE.read_text("utf-8"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", choices=table["folders"])
    parser.add_argument("--sample", type=int, nargs="+", default=[60], help="the last also of further seeds")
    parser.add_argument(
        "--seed", type=int, nargs="+", default=[secrets.randbelow(10**6)], help="a sample each"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="only the survivors of this seed, and the slow")
    parser.add_argument("--tests", nargs="+", help="others than the folder's")
    parser.add_argument("--most", type=float, default=60, help="seconds of tests for a mutant")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends, too
    folder = table["folders"][chosen.folder]
    equivalent = [{key: each[key] for key in ("path", "was", "now")} for each in table.get("equivalent", ())]
    with tempfile.TemporaryDirectory(prefix="mutants") as scratch, ThreadPoolExecutor(chosen.jobs) as pool:
        copies = [mutants_run.copied(Path(scratch).resolve() / str(n)) for n in range(chosen.jobs)]
        paths = chosen.tests or folder["tests"]
        tests = mutants_run.recorded(folder["sources"], paths, copies[0], chosen.most)
        print(f"{len(tests.seconds)} tests pass unchanged in {sum(tests.seconds.values()):.0f} s:")
        print(", ".join(f"{file} {seconds:.1f}" for file, seconds in tests.files().items()), flush=True)
        for failed in tests.failed:
            print(f"fails unchanged, and is left out: {failed}")
        with mutants_run.workplaces(copies, tests, folder.get("imports", [])) as tried:
            for seed, sample in zip(
                chosen.seed, chain(chosen.sample, repeat(chosen.sample[-1])), strict=False
            ):
                name, before = f"{chosen.folder}-{seed}", list[Result]()
                # of the copy: who works on in the work tree changes nothing that is measured
                mutants = drawn(folder["sources"], sample, seed, equivalent, copies[0])
                if chosen.again:
                    before, mutants = survivors(name, equivalent, copies[0])
                report(name, before, pool.map(lambda one: (one[0], tried(*one)), mutants))


def survivors(
    name: str, equivalent: list[dict[str, str]], root: Path
) -> tuple[list[Result], Iterator[tuple[Mutant, str]]]:
    """Of a sample that was tried, the killed, and the others as they are now: a busy machine is slow, too."""
    listed = json.loads((KEPT / f"{name}.json").read_text("utf-8"))
    kept = [(Mutant(**each["mutant"]), str(each["result"])) for each in listed]
    kept = [each for each in kept if each[0].listed() not in equivalent and each[0].operator not in SAME]
    alive = [found_again(one, root) for one, result in kept if result != KILLED]
    print(f"{name}: {len(alive)} to try again; {alive.count(None)} of them are gone with their lines")
    return [each for each in kept if each[1] == KILLED], iter([one for one in alive if one is not None])


def report(name: str, before: list[Result], now: Iterator[Result]) -> None:
    """Prints who survives and what share does not, and keeps it."""
    results, began = [*before], time.monotonic()
    for number, (one, result) in enumerate(now, 1):
        results.append((one, result))
        if result != KILLED:
            print(f"{number} {result}: {one}", flush=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    listed = [{"mutant": asdict(one), "result": result} for one, result in results]
    (KEPT / f"{name}.json").write_text(json.dumps(listed, indent=1), "utf-8")
    count, slow = len(results), sum(result == SLOW for _, result in results)
    killed = sum(result != SURVIVED for _, result in results)
    low, high = interval(killed, count)
    print(
        f"{name}: {killed} of {count} killed, {killed / count:.0%} (95 %: {low:.0%} to {high:.0%}), "
        f"{slow} of them by time, in {time.monotonic() - began:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
