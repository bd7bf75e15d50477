"""A party whose table is at a server that dies, or in somebody else's deploy.toml, beside one with a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import Command
from granting import granted
from party.processes import until
from ports import free_ports
from sources.servers import OWNER, PASSWORD, Running, mariadb, postgres

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = granted("""party alice { key ID  feature half: float }
party bob { key ID  column n: int  label y = n > 20 }
h = dense(alice.half, 1)
logit = dense(h, 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train { optimizer adam(lr = 0.1)  batch 10  epochs 1 }
""")
ROWS = 40
ENDED = re.compile(r"error\[(VFL\d+)\]")


@pytest.fixture(scope="module", params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, Running]]:
    with (postgres if request.param == "postgresql" else mariadb)() as running:
        place, text = ("", "text") if request.param == "postgresql" else ("shop.", "char(20)")
        values = ", ".join(f"('{i}', {i / 2})" for i in range(1, ROWS + 1))
        running.run(
            f"CREATE TABLE {place}people (ID {text}, half float)".replace("ID", _quoted(request.param))
        )
        running.run(f"INSERT INTO {place}people VALUES {values}")
        yield (
            f"{request.param}://{OWNER}@127.0.0.1:{running.port}/{'postgres' if not place else 'shop'}?",
            running,
        )


def _quoted(kind: str) -> str:
    return '"ID"' if kind == "postgresql" else "`ID`"


class Two:
    """alice, whose table is at a server, and bob, whose table is a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        compile_source(SourceText("model.vfl", SPEC)).write(folder / "bundle")
        (folder / "bob.csv").write_text("ID,n\n" + "".join(f"{i},{i}\n" for i in range(1, ROWS + 1)))
        (port,) = free_ports(1)
        self.lines = f'timeout = 20\n[parties.alice]\naddress = "127.0.0.1:{port}"\n'
        self.deploy()

    def deploy(self, alice: str = "") -> None:
        """deploy.toml, with what it says of alice's table."""
        text = f'{self.lines}{alice}\n[parties.bob]\ndata = "bob.csv"\n'
        (self.folder / "deploy.toml").write_text(text)

    def start(self, name: str, *options: str, **environment: str) -> Command:
        command = (
            "party",
            name,
            "bundle",
            "--deploy",
            "deploy.toml",
            "--insecure",
            "--resume",
            "--out",
            name,
        )
        env = {
            **os.environ,
            "PGPASSWORD": PASSWORD,
            "MYSQL_PWD": PASSWORD,
            "VFLC_MYSQL_TLS": "off",
            **environment,
        }
        log = self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        return Command("vflc", *command, *options, stdout=log, stderr=log, cwd=self.folder, env=env)

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def ended(self, processes: dict[str, Command], expected: dict[str, str]) -> None:
        """All end soon, with one of the codes given, or well; nobody shows a traceback or a password."""
        for name, process in processes.items():
            process.wait(60)
            said = self.said(name)
            codes = ENDED.findall(said)
            assert len(codes) == (name in expected), said
            assert all(code in expected[name].split() for code in codes), said
            assert process.returncode == (CODES[codes[0]] if codes else 0), said
            assert "Traceback" not in said and PASSWORD not in said


CODES = {"VFL0652": 3, "VFL0693": 1, "VFL0697": 1, "VFL0698": 1}


def test_a_server_that_dies(server: tuple[str, Running], tmp_path: Path) -> None:
    """While it is read, before a run begins, and before one goes on."""
    url, running = server
    two, is_postgres = Two(tmp_path), url.startswith("postgresql")
    table = f"{url}table=people"
    slow = f"{url}query=SELECT p.*, {'pg_sleep' if is_postgres else 'sleep'}(0.2) AS slow FROM people p"

    def both(alice: str, *options: str) -> dict[str, Command]:
        return {"alice": two.start("alice", "--data", alice, *options), "bob": two.start("bob", *options)}

    try:
        reading = both(slow)
        until(lambda: int(running.run(ASKED[is_postgres])) > 0)
        running.kill()  # alice may be about to open another connection for her rows
        two.ended(reading, {"alice": "VFL0698 VFL0697", "bob": "VFL0652"})
        two.ended({"alice": two.start("alice", "--data", table)}, {"alice": "VFL0697"})
        running.start()
        two.ended(both(table), {})
        running.kill()
        two.ended(both(table, "--epochs", "2"), {"alice": "VFL0697", "bob": "VFL0652"})
    finally:  # other tests need it, too
        running.start()
    two.ended(both(table, "--epochs", "2"), {})


ASKED = {
    True: "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(0.2)%' AND pid <> pg_backend_pid()",
    False: "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%sleep(0.2)%' "
    "AND id <> connection_id()",
}
"""How many read slowly, of PostgreSQL or of MariaDB."""


def test_a_url_in_somebody_else_s_deploy_toml(server: tuple[str, Running], tmp_path: Path) -> None:
    url, running = server
    two, allowed = Two(tmp_path), f"127.0.0.1:{running.port}"
    two.deploy(f'data = "{url}table=people"')
    two.ended({"alice": two.start("alice")}, {"alice": "VFL0693"})
    two.ended({"alice": two.start("alice", VFLC_SOURCES=allowed), "bob": two.start("bob")}, {})
    two.deploy(f'data = "{url}query=SELECT * FROM people"')
    more = ("--epochs", "2")
    both = {"alice": two.start("alice", *more, VFLC_SOURCES=allowed), "bob": two.start("bob", *more)}
    two.ended(both, {"alice": "VFL0693", "bob": "VFL0652"})
