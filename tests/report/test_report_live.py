"""The page that is served while a run goes on: for whoever has its address, and for nobody else."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from vflc_runtime import events
from vflc_runtime.errors import Failure
from vflc_runtime.run.train import TrainOptions, train

from vflc.cli.main import run
from vflc.report.live import LivePage


@pytest.fixture
def live(project: dict[str, Any]) -> Iterator[LivePage]:
    with LivePage([project["run"]]) as page:
        yield page


def asked(url: str, path: str | None = None, method: str = "GET", **headers: str) -> tuple[int, str, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    connection.request(method, parts.path if path is None else path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers


def test_it_serves_the_page_to_who_has_the_address(live: LivePage) -> None:
    status, text, headers = asked(live.url)
    assert status == 200 and "Report on model" in text
    policy = headers["Content-Security-Policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert f'<script nonce="{nonce}">' in text and text.count("<script") == 1
    assert "default-src 'none'" in policy and headers["Cache-Control"] == "no-store"
    assert "http" not in text.partition("<script")[0]


def test_nobody_else_gets_anything(live: LivePage) -> None:
    for path in (
        "/",
        "/x/",
        urlsplit(live.url).path + "x",
        urlsplit(live.url).path[:-2] + "/",
        "/../run.json",
    ):
        assert asked(live.url, path)[:2] == (404, "not here")
    assert asked(live.url, Host="evil.example")[:2] == (404, "not here")
    assert asked(live.url, method="POST")[0] == 501
    assert urlsplit(live.url).hostname == "127.0.0.1"


def test_what_is_no_request_ends_nothing(live: LivePage) -> None:
    where = (urlsplit(live.url).hostname, urlsplit(live.url).port)
    for sent in (b"\x00\xff\x16\x03\x01", b"GET " + b"/" * 70000 + b" HTTP/1.1\r\n\r\n", b""):
        with socket.create_connection(where, timeout=20) as connection:
            connection.sendall(sent)
    assert asked(live.url)[0] == 200


def test_nothing_is_said_of_a_browser_that_goes_away(live: LivePage, capfd: Any) -> None:
    where, path = (urlsplit(live.url).hostname, urlsplit(live.url).port), urlsplit(live.url).path
    with socket.create_connection(where, timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {urlsplit(live.url).netloc}\r\n\r\n".encode())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while any(thread.name.endswith("(process_request_thread)") for thread in threading.enumerate()):
        time.sleep(0.01)
    assert capfd.readouterr().err == ""


def test_it_follows_a_run(project: dict[str, Any], tmp_path: Path) -> None:
    seen: list[str] = []
    with LivePage([tmp_path / "run"], trains=True) as page:
        assert "the run has not begun yet" in asked(page.url)[1]

        def listen(event: events.Event) -> None:
            page(event)
            if isinstance(event, events.EpochEnded | events.Progress | events.Done):
                seen.append(asked(page.url)[1])

        options = TrainOptions(threads=1, epochs=2, validation=0.2)
        train(project["bundle"], project["data"], tmp_path / "run", options, listen)
        url = page.url
    assert any("epoch 1, step " in text and "rows a second" in text for text in seen)
    assert any("epoch 1 has ended" in text and "<figure" in text for text in seen)
    assert "all epochs are done" in seen[-1]
    with pytest.raises(ConnectionError):
        asked(url)


def test_rounds_of_a_population_are_followed(project: dict[str, Any]) -> None:
    page = LivePage([project["run"]], trains=True)
    scores = {"loss": 0.5}
    for number in range(1, 31):
        page(events.RoundEnded(number, 40, 1.0, scores, scores if number % 7 == 0 else {}, 10.0))
    text = page.page("n")
    assert "round 30 of 40 has ended" in text and "<figure" in text
    page._server.server_close()


def test_a_port_that_is_taken_is_said(live: LivePage, project: dict[str, Any], capsys: Any) -> None:
    port = urlsplit(live.url).port
    assert port is not None
    with pytest.raises(Failure, match="VFL0806"):
        LivePage([project["run"]], port)
    assert run(["report", str(project["run"]), "--live-port", str(port)]) == 1
    assert "error[VFL0806]" in capsys.readouterr().err


def test_train_serves_it(project: dict[str, Any], options: list[str], tmp_path: Path, capsys: Any) -> None:
    out = ["--out", str(tmp_path / "run"), "--epochs", "1", "--threads", "1"]
    assert run(["train", str(project["bundle"]), *options, *out, "--live"]) == 0
    assert "the report is at http://127.0.0.1:" in capsys.readouterr().out
