"""What a process does with SIGINT and SIGTERM, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from vflc_runtime.interrupts import Interrupts

from vflc.cli.signals import terminable

SCRIPT = """
import threading
from vflc.cli.signals import terminable
from vflc_runtime.interrupts import Interrupts
never = threading.Event()
try:
    with terminable(), Interrupts(grace={grace}) as interrupts:
        print("ready", flush=True)
        while not ({ready}):
            never.wait({wait})
        print("asked", flush=True)
except KeyboardInterrupt:
    print("at once", flush=True)
"""


def ignoring() -> None:
    """What `&` in a script does before it starts a command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def heeding() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(
    started: list[subprocess.Popen[str]], ready: str, wait: str, grace: float = 60.0, ignored: bool = False
) -> subprocess.Popen[str]:
    script = SCRIPT.format(ready=ready, wait=wait, grace=grace)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
        preexec_fn=ignoring if ignored else heeding,
    )  # fmt: skip
    started.append(process)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=300)[0]


@pytest.mark.parametrize("ignored", [False, True])
def test_sigterm_asks_whatever_was_inherited(started: list[subprocess.Popen[str]], ignored: bool) -> None:
    process = start(started, "interrupts.asked", "0.01", ignored=ignored)
    process.send_signal(signal.SIGTERM)
    assert said(process) == "asked\n"


def test_ctrl_c_stays_ignored_where_it_was(started: list[subprocess.Popen[str]]) -> None:
    """It is pressed for what runs in the foreground."""
    process = start(started, "interrupts.asked", "0.01", ignored=True)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert said(process) == "asked\n"


def test_who_waits_for_ever_ends_after_the_grace(started: list[subprocess.Popen[str]]) -> None:
    process = start(started, "False", "None", grace=0.1)
    process.send_signal(signal.SIGTERM)
    assert said(process) == "at once\n"


def test_ctrl_c_twice_ends_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.asked
        os.kill(os.getpid(), signal.SIGINT)


def test_sigterm_twice_asks_once() -> None:
    """`timeout` sends it to its child and then to its group."""
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_a_run_sigterm_is_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # does not keep anybody from cleaning up
    assert signal.getsignal(signal.SIGTERM) is before
