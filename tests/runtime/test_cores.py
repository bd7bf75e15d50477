"""How many cores a process may use: by its affinity, and by the control groups it is in."""

import os
from pathlib import Path

import pytest
from vflc_runtime import cores as module
from vflc_runtime.cores import cores

SHARES = {
    "none": ("", {}, []),
    "version 2": ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, [1.5]),
    "version 1": (
        "5:cpuacct,cpu:/a\n4:memory:/a\n",
        {
            "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000",
            "cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000",
        },
        [4.0],
    ),
    "a container, whose host has another name": (
        "0::/../x\n", {"cpu.max": "200000 50000"}, [4.0],
    ),
    "no numbers": (
        "0::/a/b/c\n",
        {"cpu.max": "1 0", "a/cpu.max": "² 1", "a/b/cpu.max": "9 " + "9" * 40, "a/b/c/cpu.max": "1"}, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARES)
def test_shares_of_control_groups(name: str, tmp_path: Path) -> None:
    text, found, expected = SHARES[name]
    (tmp_path / "cgroup").write_text(text)
    for file, said in found.items():
        (tmp_path / "mounted" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounted" / file).write_text(said)
    assert [*module._shares(tmp_path / "cgroup", tmp_path / "mounted")] == expected


@pytest.mark.parametrize(
    ("affinity", "shares", "used"),
    [(8, [], 8), (8, [16.0], 8), (8, [4.0, 2.5], 2), (8, [0.5], 1), (1, [4.0], 1)],
)
def test_the_least_counts(
    affinity: int, shares: list[float], used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_shares", lambda groups, mounted: iter(shares))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)), raising=False)
    assert cores() == used


def test_where_nothing_is_known_of_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_shares", lambda groups, mounted: iter(()))
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cores() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
