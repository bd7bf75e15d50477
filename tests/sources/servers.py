"""Real servers for tests, each in a folder of its own, on loopback or a socket, as a user without rights."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ports import free_ports

PASSWORD = "open sesame"
OWNER = "owner"


@dataclass(frozen=True)
class Running:
    """A server of databases that runs on loopback.

    Attributes:
        port: on 127.0.0.1.
        run: runs SQL as the owner of everything; gives what it printed.
        kill: kills it.
        start: starts it again, with all it has written, where it does not run.
    """

    port: int
    run: Callable[[str], str]
    kill: Callable[[], None]
    start: Callable[[], None]


def missing(reason: str) -> NoReturn:
    """Skips, and says why; in CI, which installs everything, fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str, package: str) -> str:
    """Where a program is; skips where Debian's package is not installed."""
    postgres = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", *postgres])
    return shutil.which(name, path=path) or missing(f"{name} is missing: apt-get install {package}")


@contextmanager
def folder() -> Iterator[tuple[Path, list[str]]]:
    """A folder with a short name, and what begins commands in it: as nobody, where the tests run as root.

    Not by `subprocess`, which forks to run as somebody else: gRPC has threads by now, and may end the child.
    """
    with tempfile.TemporaryDirectory(prefix="vflc-") as made:
        user: list[str] = []
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(made, nobody.pw_uid, nobody.pw_gid)
            ids = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
            user = [program("setpriv", "util-linux"), *ids, "--"]
        yield Path(made), user


def said(command: list[str], **options: Any) -> str:
    """What a program prints; an AssertionError with it where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def until(answers: Callable[[], Any], process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until a call does not raise."""
    for _ in range(600):
        try:
            answers()
            return
        except AssertionError:
            assert process.poll() is None, log.read_text(errors="replace")
            time.sleep(0.05)
    raise AssertionError(log.read_text(errors="replace"))


@contextmanager
def started(
    command: list[str], at: Path, answers: Callable[[], Any]
) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """A server that runs until the end; what kills it, and what starts it again."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        if processes and processes[-1].poll() is None:
            return
        log = at / "log"
        with log.open("ab") as out:
            processes.append(subprocess.Popen(command, stdout=out, stderr=out, cwd=at))
        until(answers, processes[-1], log)

    def kill() -> None:
        processes[-1].kill()
        processes[-1].wait()

    try:
        start()
        yield kill, start
    finally:
        kill()


@contextmanager
def postgres() -> Iterator[Running]:
    """PostgreSQL with a user `owner` and a database `postgres`."""
    client, (port,) = program("psql", "postgresql"), free_ports(1)
    server, initdb = program("postgres", "postgresql"), program("initdb", "postgresql")
    with folder() as (at, user):
        (at / "password").write_text(PASSWORD)
        (at / "password").chmod(0o644)
        options = f"-U {OWNER} -A scram-sha-256 --pwfile={at / 'password'} -E UTF8 --locale=C --no-sync"
        said([*user, initdb, "-D", str(at / "data"), *options.split()], cwd=at)

        def run(sql: str) -> str:
            ask = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port)]
            environment = {**os.environ, "PGPASSWORD": PASSWORD}
            return said([client, *ask, "-U", OWNER, "-c", sql, "postgres"], env=environment)

        settings = ["fsync=off", f"port={port}", "listen_addresses=127.0.0.1", "max_connections=20"]
        command = [*user, server, "-D", str(at / "data"), "-k", str(at)]
        command += [part for each in (*settings, "shared_buffers=16MB") for part in ("-c", each)]
        with started(command, at, lambda: run("SELECT 1")) as (kill, start):
            yield Running(port, run, kill, start)


@contextmanager
def mariadb() -> Iterator[Running]:
    """MariaDB with a user `owner` and a database `shop`."""
    client, (port,) = program("mariadb", "mariadb-server"), free_ports(1)
    server, install = program("mariadbd", "mariadb-server"), program("mariadb-install-db", "mariadb-server")
    with folder() as (at, user):
        data, socket = f"--datadir={at / 'data'}", at / "socket"
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        small = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--aria-log-file-size=8M"]
        said([*user, install, "--no-defaults", data, *options, *small[:2]], cwd=at)

        def run(sql: str) -> str:
            return said(
                [
                    client,
                    "--no-defaults",
                    "--default-character-set=utf8mb4",
                    "-u",
                    "root",
                    "-S",
                    str(socket),
                    "-N",
                    "-B",
                    "-e",
                    sql,
                ],
                env={name: value for name, value in os.environ.items() if name != "MYSQL_PWD"},
            )

        command = [*user, server, "--no-defaults", data, f"--socket={socket}", f"--port={port}", *small[:2]]
        command += ["--bind-address=127.0.0.1", f"--pid-file={at / 'pid'}", f"--tmpdir={at}"]
        with started(command, at, lambda: run("SELECT 1")) as (kill, start):
            run(
                f"CREATE USER {OWNER} IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO {OWNER};"
                "CREATE DATABASE shop CHARACTER SET utf8mb4"
            )
            yield Running(port, run, kill, start)


@contextmanager
def s3(keys: dict[str, str]) -> Iterator[str]:
    """The address of moto's S3, which runs in an environment of its own."""
    root = Path(__file__).parents[2]
    python = Path(os.environ.get("VFLC_MOTO", root / "build/moto/bin/python"))
    if not python.exists():
        missing("moto is not installed: make moto")
    (port,) = free_ports(1)
    with folder() as (at, _):
        process = subprocess.Popen(
            [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=at,
            env={**os.environ, **keys},
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()
