"""Parties as processes on this machine: started, killed, started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from forked import Command
from ports import free_ports
from vflc_runtime.run.train import TrainOptions

from vflc.cli.certs import make


def write_deploy(
    folder: Path, sources: Mapping[str, str | None], timeout: float = 60, scheme: str = ""
) -> Path:
    """A deploy.toml in which every party but the last listens on loopback; with certificates for a scheme."""
    lines = [f"timeout = {timeout:g}"]
    for (place, source), port in zip(sources.items(), free_ports(len(sources)), strict=True):
        lines.append(f"[parties.{place}]")
        if place != list(sources)[-1]:
            lines.append(f'address = "{scheme}127.0.0.1:{port}"')
        if scheme:
            lines.append(f'certificate = "{place}.pem"\nkey = "{place}.key"')
        if source is not None:
            table = folder / source
            if not table.is_relative_to(folder):  # deploy.toml reads its own folder alone
                table = Path(shutil.copy(table, folder / f"{place}{table.suffix}"))
            lines.append(f'data = "{table}"')
    if scheme:
        make(folder, tuple(sources))
        lines.append('[tls]\nauthority = "authority.pem"')
    file = folder / "deploy.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


OPTIONS = TrainOptions(epochs=3, batch=16, checkpoint_steps=20)
FLAGS = ["--epochs", "3", "--batch", "16", "--checkpoint-steps", "20", "--threads", "1"]
"""How the example of `conftest` is trained: long enough for something to go wrong meanwhile."""
PEER = 3


STARTED: list[subprocess.Popen[bytes] | Command] = []
"""What no test may leave behind."""


class Party:
    """`vflc party NAME`, again and again."""

    def __init__(self, name: str, bundle: Path, deploy: Path, out: Path, options: Sequence[str] = ()) -> None:
        self.name, self.out, self.deploy = name, out, deploy
        self._command = [
            "party", name, str(bundle), "--deploy", str(deploy), "--out", str(out), "--resume", *options,
            *([] if "[tls]" in deploy.read_text() else ["--insecure"]),
        ]  # fmt: skip
        self._log = out.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | Command | None = None

    def start(self, before: Callable[[], None] | None = None, options: Sequence[str] = ()) -> None:
        """Starts the process: all of it where `before` is to be called in it before the program is."""
        command, env = [*self._command, *options], _environment()
        if before is None:
            self.process = Command("vflc", *command, stdout=self._log, stderr=self._log, env=env)
        else:
            start = [sys.executable, "-m", "vflc.cli.main", *command]
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(start, stdout=log, stderr=log, env=env, preexec_fn=before)
        STARTED.append(self.process)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def at_work(self, checkpoints: int = 1) -> bool:
        """Whether it has saved that often, and is not at its end."""
        return self.running() and len([*self.out.glob("checkpoints/step-*")]) >= checkpoints

    def wait(self, seconds: float = 240) -> int:
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end:\n{self.log()}") from None

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


def start(parties: Sequence[Party]) -> None:
    """Starts all, and waits until they are at work."""
    for party in parties:
        party.start()
    until(lambda: all(party.at_work(2) for party in parties))


def end(parties: Sequence[Party], example: Mapping[str, Any]) -> None:
    """All come to the end, with the bits of a run in one process."""
    from partying import tensors  # beside this file, which tests of other folders import as well

    for party in parties:
        assert party.wait() == 0, party.log()
        assert tensors(party.out, party.name) == tensors(example["alone"], party.name)


def go_on(parties: Sequence[Party], example: Mapping[str, Any]) -> None:
    """From what their processes left all come to the end, in threads here: starting two more costs most."""
    from partying import tensors, train_together

    folder = parties[0].out.parent
    found = train_together(example["bundle"], example["sources"], folder, replace(OPTIONS, resume=True))
    for party in parties:
        assert not isinstance(found[party.name], BaseException), found[party.name]
        assert tensors(party.out, party.name) == tensors(example["alone"], party.name)


def _environment() -> dict[str, str]:
    """Of two processes on few cores none is to spin while it waits for the other."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "VFLC_DEBUG": "1"}


def end_all() -> None:
    """Kills what still runs of all that was started."""
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def until(true: Callable[[], bool], seconds: float = 240) -> None:
    """Waits for something that a process is to do."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
