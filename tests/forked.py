"""`vflc`, or a script, in a process of its own that has imported already what takes a second to import.

A server, which has neither threads of its own nor sessions nor connections, imports what runs need and
forks for each command. What it forks is a process like any other, with its own id, folder, environment,
files and signals. Where the start is the subject, or what a process inherits, a command is started by
`subprocess`.
"""

from __future__ import annotations

import atexit
import os
import runpy
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path

SERVER = get_context("forkserver")
IMPORTED = [
    "grpc.aio", "pyarrow.compute", "pyarrow.parquet", "duckdb", "cryptography.x509", "vflc.driver",
    "vflc.cli.align", "vflc.cli.party", "vflc.cli.progress", "vflc.cli.tables", "vflc.cli.train",
    "vflc_runtime.party.connect", "vflc_runtime.party.deploy", "vflc_runtime.party.log",
    "vflc_runtime.party.train", "vflc_runtime.transport.grpc.network",
]  # fmt: skip
SERVER.set_forkserver_preload(IMPORTED)


class Command:
    """A command, started; the part of `subprocess.Popen` that tests use.

    Args:
        program: "vflc", or a script of Python.
        arguments: of its command line.
        stdout, stderr: files that what it prints is added to.
        cwd: the folder it runs in; this process' where None.
        env: its environment; this process' where None.
    """

    def __init__(
        self, program: str | Path, *arguments: object, stdout: Path, stderr: Path, cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.args = [str(program), *map(str, arguments)]
        given = self.args, str(cwd or Path.cwd()), dict(os.environ if env is None else env)
        self._process = SERVER.Process(target=_run, args=(*given, str(stdout), str(stderr)))
        sys.audit("forked.Command", self.args)  # as `subprocess` tells of what it starts
        self._process.start()
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def completed(
    program: str | Path, *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Runs a command to its end; arguments as those of `Command`."""
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder, "out"), Path(folder, "errors")
        command = Command(program, *arguments, cwd=cwd, env=env, stdout=out, stderr=errors)
        try:
            code = command.wait(timeout)
        finally:
            command.kill()
        return subprocess.CompletedProcess(command.args, code, out.read_text(), errors.read_text())


def typed(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a line of a page in a folder: our commands in processes that are forked, others in a shell.

    What stands behind `||` is left out.
    """
    program, *arguments = shlex.split(line.partition("||")[0])
    if program == "vflc":
        return completed("vflc", *arguments, cwd=folder)
    if program == "python":
        return completed(folder / arguments[0], *arguments[1:], cwd=folder)
    return subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True)


def _run(command: list[str], cwd: str, environment: dict[str, str], stdout: str, stderr: str) -> None:
    for number, path in ((1, stdout), (2, stderr)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.argv = command
    try:
        if command[0] == "vflc":
            from vflc.cli.main import main

            main()
        else:
            sys.path.insert(0, str(Path(command[0]).parent))
            runpy.run_path(command[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # a process that was forked ends without
