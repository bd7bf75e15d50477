"""Rounds on Ray workers: the same bits as in one process, also when a worker dies in a round."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from population.population_testing import compiled, ratings, rounds_of, table
from population.reference import GLOBALS, spec
from ports import free_ports
from vflc_runtime.errors import Failure
from vflc_runtime.files import read_tensors
from vflc_runtime.population.ray_pool import RayPool, Worker
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.run.client_executor import ClientExecutor

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")


class Mortal(Worker):
    """Dies in the middle of its first client update, once."""

    def train(self, *arguments):
        died = Path(os.environ["VFLC_TEST_DIED"])
        if not died.exists():
            died.touch()
            os._exit(1)
        return super().train(*arguments)


def test_workers_and_their_death_change_no_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("VFLC_TEST_DIED", str(tmp_path / "died"))
    here = Path(__file__).parent  # workers import this file
    path = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    found = compiled(spec("rounds 2  cohort 6  batch 3  keep_local true"), tmp_path)
    local = rounds_of(found, table(ratings()), together=2)
    others = RayPool(ClientExecutor, found, found.users.settings, local.users, "ray", 2, Mortal)
    try:
        ours = Rounds(found, found.users.settings, local.users, local.split, others, together=2)
        for number in range(2):
            assert ours.step(number) == local.step(number)
        assert others.replaced == 1 and (tmp_path / "died").exists()
        assert ours.measure(local.split.test) == local.measure(local.split.test)
    finally:
        others.close()
    for name in GLOBALS:
        assert np.array_equal(ours.hub.weights[name], local.hub.weights[name])
    assert all(np.array_equal(ours.kept[name], local.kept[name]) for name in local.kept)


def test_an_address_that_does_not_answer(tmp_path):
    found = compiled(spec("cohort 6"), tmp_path)
    with pytest.raises(Failure, match="does not respond") as refused:
        RayPool(
            ClientExecutor,
            found,
            found.users.settings,
            rounds_of(found, table(ratings())).users,
            "ray://127.0.0.1:1",
        )
    assert (refused.value.code, refused.value.exit_code) == ("VFL0620", 3)


@pytest.fixture
def cluster() -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a Ray head of our own, and the environment that its clients need."""
    pytest.importorskip("ray.util.client.server", reason="ray[client] is not installed")
    server, agent, listen = free_ports(3)
    environment = {
        **os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        command = [
            Path(sys.executable).parent / "ray", "start", "--head", "--block", "--port=0", "--num-cpus=2",
            f"--ray-client-server-port={server}", f"--runtime-env-agent-port={agent}",
            f"--dashboard-agent-listen-port={listen}", "--include-dashboard=false", "--disable-usage-stats",
            "--node-ip-address=127.0.0.1", "--object-store-memory=100000000", f"--temp-dir={folder}",
        ]  # fmt: skip
        log = Path(folder) / "head.log"
        with log.open("wb") as out:
            head = subprocess.Popen(
                command, env=environment, start_new_session=True, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", server)) == 0:
                        break
                assert head.poll() is None, log.read_text(errors="replace")
                time.sleep(0.2)
            yield f"ray://127.0.0.1:{server}", environment
        finally:
            with suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)
            head.wait()


def test_a_cluster_at_an_address_gives_the_same_bits(cluster, tmp_path):
    """As a user runs it: another process, which joins a cluster that is there."""
    address, environment = cluster
    (tmp_path / "p.vfl").write_text(spec("rounds 2  cohort 6  batch 3"), "utf-8")
    pq.write_table(table(ratings()), tmp_path / "users.parquet")
    command = [sys.executable, "-m", "vflc.cli.main", "train", "p.vfl", "--data", "users=users.parquet"]
    for name, on in (("here", []), ("there", ["--on", address, "--workers", "1"])):
        ended = subprocess.run(
            [*command, "--out", name, *on],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    models = [read_tensors(tmp_path / name / "hub" / "model.safetensors")[0] for name in ("here", "there")]
    assert set(models[0]) == set(GLOBALS)
    assert all(np.array_equal(models[0][name], models[1][name]) for name in GLOBALS)
