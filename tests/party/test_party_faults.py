"""What goes wrong between parties: each run waits and ends with its bits, or stops and says why."""

from __future__ import annotations

import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from partying import compiled
from processes import FLAGS, PEER, Party, end, go_on, start, until, write_deploy
from specs.examples import text_of
from transport.wiring import Proxy


def last(party: Party) -> str:
    return max((party.out / "checkpoints").iterdir()).name


def without_ctrl_c() -> None:
    """As a script's `&` and `nohup` start a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize(("at", "number"), [(0, signal.SIGINT), (1, signal.SIGTERM)])
def test_ctrl_c_at_one_leaves_the_same_step_at_all(
    two: list[Party], example: dict[str, Any], at: int, number: int
) -> None:
    pressed, other = two[at], two[1 - at]
    pressed.start(without_ctrl_c if number == signal.SIGTERM else None)
    other.start()
    until(lambda: all(party.at_work(2) for party in two))
    pressed.signal(number)
    assert pressed.wait() == 130, pressed.log()
    assert other.wait() == PEER and "VFL0653" in other.log()
    assert last(pressed) == last(other)
    go_on(two, example)


def test_sigterm_does_not_wait_for_a_peer_that_stalls(example: dict[str, Any], tmp_path: Path) -> None:
    deploy = write_deploy(tmp_path, example["sources"], timeout=8)
    two = [Party(name, example["bundle"], deploy, tmp_path / name, FLAGS) for name in ("alice", "bob")]
    start(two)
    two[1].signal(signal.SIGSTOP)
    two[0].signal(signal.SIGTERM)
    assert two[0].wait() == 130, two[0].log()
    two[1].kill()
    go_on(two, example)


def test_a_link_that_is_cut_comes_back(two: list[Party], example: dict[str, Any], tmp_path: Path) -> None:
    deploy = tmp_path / "deploy.toml"
    port = int(deploy.read_text().split(":")[1].split('"')[0])
    proxy = Proxy(port)
    try:
        through = tmp_path / "through.toml"
        through.write_text(deploy.read_text().replace(f"127.0.0.1:{port}", proxy.address))
        two[1] = Party("bob", example["bundle"], through, tmp_path / "bob", FLAGS)
        start(two)
        for pause in (0.05, 1.0):
            proxy.cut()
            time.sleep(pause)
            step = last(two[0])
            proxy.mend()
            until(lambda step=step: last(two[0]) > step)
            assert all(party.running() for party in two)
        end(two, example)
    finally:
        proxy.close()


def test_a_peer_that_stalls_is_waited_for(two: list[Party], example: dict[str, Any]) -> None:
    start(two)
    two[0].signal(signal.SIGSTOP)
    time.sleep(2)
    assert two[1].running()
    two[0].signal(signal.SIGCONT)
    end(two, example)


def test_a_peer_that_stalls_too_long_ends_the_run(example: dict[str, Any], tmp_path: Path) -> None:
    deploy = write_deploy(tmp_path, example["sources"], timeout=8)
    two = [Party(name, example["bundle"], deploy, tmp_path / name, FLAGS) for name in ("alice", "bob")]
    start(two)
    two[0].signal(signal.SIGSTOP)
    assert two[1].wait() == PEER
    assert "VFL0641" in two[1].log() and "'alice' did not send" in two[1].log()
    two[0].kill()
    go_on(two, example)


def test_another_bundle_is_refused_at_both_sides(
    two: list[Party], example: dict[str, Any], tmp_path: Path
) -> None:
    start(two)
    two[1].kill()
    text = text_of("deepfm", small=True).replace("[256, 32]", "[256, 16]")
    other = compiled("deepfm", text, tmp_path / "other")
    changed = Party("bob", other, tmp_path / "deploy.toml", tmp_path / "changed", FLAGS)
    changed.start()
    for party in (changed, two[0]):
        assert party.wait() == PEER
        assert "VFL0650" in party.log() and "digest is " in party.log()
    go_on(two, example)


def test_who_comes_back_with_another_seed_is_no_reason_to_wait(
    two: list[Party], example: dict[str, Any], tmp_path: Path
) -> None:
    start(two)
    two[1].kill()
    two[1].start(options=["--seed", "5"])
    assert two[1].wait() == 1 and "VFL0627" in two[1].log() and "was started with seed 0" in two[1].log()
    assert two[0].wait() == PEER
    assert "VFL0652" in two[0].log() and "'bob' has left the run: it cannot continue" in two[0].log()
    go_on(two, example)


def test_a_full_disk_keeps_what_was_saved(two: list[Party], example: dict[str, Any]) -> None:
    start(two)
    assert two[0].process is not None
    resource.prlimit(two[0].process.pid, resource.RLIMIT_FSIZE, (50_000, 50_000))
    assert two[0].wait() == 1 and "VFL0612" in two[0].log()
    assert two[1].wait() == PEER and "VFL0652" in two[1].log()
    go_on(two, example)


def test_one_that_lost_its_folder_is_told(two: list[Party], tmp_path: Path) -> None:
    start(two)
    for party in two:
        party.kill()
    two[1].out.rename(tmp_path / "lost")
    for party in two:
        party.start()
    for party in two:
        assert party.wait() == PEER
        assert "VFL0651" in party.log()
