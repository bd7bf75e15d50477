"""The locked versions follow pyproject.toml: after a change there, `make lock` makes them anew."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = {name: [*map(Requirement, lines)] for name, lines in PROJECT["optional-dependencies"].items()}
CORE = [*map(Requirement, PROJECT["dependencies"])]
APART = {"gpu", "lsp", "torch"}
"""What is not installed beside the rest: it takes a package's place, or asks for other versions."""
PYTHONS = ("3.11", "3.12", "3.13")


def locked(file: str) -> dict[str, list[Requirement]]:
    """The requirements of a file by name; each is one version, for all Pythons or for some."""
    text = (ROOT / "requirements" / f"{file}.txt").read_text("utf-8")
    assert "://" not in text and "--index" not in text, "where packages come from is for each machine to say"
    found: dict[str, list[Requirement]] = {}
    for entry in re.sub(r"^ *#.*\n", "", text, flags=re.M).replace("\\\n", " ").strip().splitlines():
        line, *hashes = entry.split("--hash=")
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", each) for each in hashes), line
        one = Requirement(line)
        assert [each.operator for each in one.specifier] == ["=="], line
        found.setdefault(one.name, []).append(one)
    return found


def version(found: dict[str, list[Requirement]], name: str, python: str) -> str | None:
    """The version that `python` gets on Linux."""
    about = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    fitting = [one for one in found.get(name, []) if one.marker is None or one.marker.evaluate(about)]
    assert len(fitting) <= 1, fitting
    return str(fitting[0].specifier)[2:] if fitting else None


def canonical(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("file", "extras"), [("core", []), ("all", [*EXTRAS.keys() - APART])])
def test_what_pyproject_asks_for_is_locked(file: str, extras: list[str], python: str) -> None:
    found = locked(file)
    for wanted in [*CORE, *(each for extra in extras for each in EXTRAS[extra])]:
        one = version(found, canonical(wanted), python)
        assert one is not None and wanted.specifier.contains(one), f"{wanted}: {one}; run make lock"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_language_server_has_a_file_of_its_own(python: str) -> None:
    found = locked("lsp")  # its attrs is newer than dp-accounting allows
    for wanted in EXTRAS["lsp"]:
        one = version(found, canonical(wanted), python)
        assert one is not None and wanted.specifier.contains(one), f"{wanted}: {one}; run make lock"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_core_has_the_versions_that_everything_is_tested_with(python: str) -> None:
    core, everything = locked("core"), locked("all")
    assert {name: version(core, name, python) for name in core} == {
        name: version(everything, name, python) for name in core
    }
    assert not core.keys() & {"tensorflow", "keras", "ray", "grpcio", "pytest"}, "the demo installs little"


def test_the_oldest_are_what_pyproject_names() -> None:
    found = locked("oldest")
    for wanted in CORE:
        least = Version(next(each.version for each in wanted.specifier if each.operator == ">="))
        one = Version(version(found, canonical(wanted), "3.11") or "0")
        assert (one.major, one.minor) == (least.major, least.minor), wanted


@pytest.mark.parametrize("file", ["core", "all", "oldest"])
def test_nothing_is_installed_that_nothing_needs(file: str) -> None:
    assert not {"torch", "torchvision"} & locked(file).keys()
