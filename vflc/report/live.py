"""The page of a run while it goes on, on loopback: for the browser of whoever has the address.

The address has a secret, since others on the machine can reach the port; a page of another site can neither
guess it nor read what is answered. Nothing is taken from a request but its path.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from msgspec.structs import replace
from vflc_runtime import events
from vflc_runtime.errors import Failure

from vflc.report.elements import tag
from vflc.report.numbers import measure
from vflc.report.page import page
from vflc.report.shapes import EpochResults
from vflc.report.shown import ShownRun, shown

HOST = "127.0.0.1"
EVERY = 3
"""Seconds between two looks of the page at the run."""
SCRIPT = """
const told = document.createElement("p");
told.id = "live";
told.setAttribute("role", "status");
document.querySelector("header").append(told);
const all = what => [...document.querySelectorAll(what)];
const reachable = "main summary, main .scroll";
let shown = "";
async function look() {
  try {
    const answer = await fetch(location.pathname, {cache: "no-store"});
    if (!answer.ok) throw new Error(answer.status);
    const text = await answer.text();
    told.textContent = "";
    const found = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    if (found.innerHTML === shown) return;
    shown = found.innerHTML;
    const before = all("main details").map(each => each.open);
    const focused = all(reachable).indexOf(document.activeElement);
    const at = [scrollX, scrollY];
    document.querySelector("main").replaceWith(found);
    all("main details").forEach((each, i) => {
      if (i < before.length) each.open = before[i];
    });
    if (focused >= 0) all(reachable)[focused]?.focus({preventScroll: true});
    scrollTo(...at);
  } catch {
    told.textContent = "What is shown is the last: the process that serves this page does not answer.";
  }
}
setInterval(() => { if (!document.hidden && !document.getSelection().toString()) look(); }, 1000 * EVERY);
""".replace("EVERY", str(EVERY))


class LivePage(AbstractContextManager["LivePage"]):
    """Serves the page of runs until it is left; also a listener of a run, where one trains in this process.

    Args:
        runs: their folders; they need not be there yet.
        port: to listen at; 0 for any that is free.
        trains: whether a run trains here, which is shown from its first event on.

    Raises:
        Failure: VFL0806, the port cannot be taken.
    """

    def __init__(self, runs: Sequence[Path], port: int = 0, trains: bool = False) -> None:
        self._runs, self._began = runs, not trains
        self._history: list[EpochResults] = []
        self._now: str | None = "reading the tables" if trains else None
        self._secret = secrets.token_urlsafe(16)
        try:
            self._server = _Server(self, port)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise Failure(
                "VFL0806",
                f"the page cannot be served on port {port} of {HOST}: {why}",
                "name another port with --live-port, or leave it out: then any free one is taken",
            ) from None
        self.url = f"http://{HOST}:{self._server.server_address[1]}/{self._secret}/"
        self._thread = Thread(
            target=self._server.serve_forever, args=(0.2,), daemon=True, name="vflc live page"
        )

    def __enter__(self) -> LivePage:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __call__(self, event: events.Event) -> None:
        """Notes how far the run is; the rest is read from its folder when somebody looks."""
        match event:
            case events.Resumed():
                self._began, self._now = True, f"continues after step {event.step:,}"
            case events.EpochStarted():
                self._began, self._now = True, f"epoch {event.epoch:,} of {event.epochs:,} begins"
            case events.Progress():
                rate = f"{event.rows_per_second:,.0f} rows a second"
                loss = "" if event.loss is None else f", loss {measure(event.loss)} so far"
                self._now = f"epoch {event.epoch:,}, step {event.done:,} of {event.steps:,}{loss}, {rate}"
            case events.EpochEnded():
                self._note({"epoch": event.epoch, "train": {}, "validation": {}}, event)
                self._now = f"epoch {event.epoch:,} has ended"
            case events.RoundEnded():
                if event.validation or not self._history or event.number % 10 == 0:
                    self._note({"round": event.number, "train": {}, "validation": {}}, event)
                self._began, self._now = True, f"round {event.number:,} of {event.rounds:,} has ended"
            case events.Done():
                self._now = None

    def _note(self, at: EpochResults, event: events.EpochEnded | events.RoundEnded) -> None:
        at["train"], at["validation"] = dict(event.train), dict(event.validation)
        self._history.append(at)

    def page(self, nonce: str) -> str:
        """The page as it is now; VFL0629 where the run is not there yet, and what `shown` raises."""
        if not self._began:
            raise Failure("VFL0629", "the run has not begun yet: its tables are being read")
        runs = [self._with_now(shown(path)) for path in self._runs]
        return page(runs, f'<script nonce="{nonce}">{SCRIPT}</script>\n')

    def _with_now(self, run: ShownRun) -> ShownRun:
        """With what this process knows that the folder does not have yet."""
        if self._now is None:
            return run
        history = self._history if len(self._history) > len(run.history) else run.history
        return replace(run, now=self._now, history=history, results=None)

    def answer(self, path: str) -> tuple[int, str, str]:
        """Status, document and nonce for a path; nothing is told to who does not know the secret."""
        nonce = secrets.token_urlsafe(12)
        if not secrets.compare_digest(path.encode("utf-8", "replace"), f"/{self._secret}/".encode()):
            return 404, "not here", nonce
        try:
            return 200, self.page(nonce), nonce
        except Failure as failure:
            body = tag("main", tag("p", failure.message))
            head = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="{EVERY}">'
            return 200, f"{head}<title>vflc</title><header></header>{body}", nonce


class _Server(ThreadingHTTPServer):
    """On loopback alone."""

    daemon_threads = True

    def __init__(self, live: LivePage, port: int) -> None:
        self.live = live
        super().__init__((HOST, port), _Answer)

    def handle_error(self, *request: Any) -> None:
        """Says nothing of a browser that has gone away: the terminal is the run's."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(*request)


class _Answer(BaseHTTPRequestHandler):
    """Answers a request for the page."""

    timeout = 10
    server: _Server

    def do_GET(self) -> None:
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            status, text, nonce = 404, "not here", ""  # a name of another site that leads here
        else:
            status, text, nonce = self.server.live.answer(self.path)
        content = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        policy = (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'"
        )
        self.send_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'; base-uri 'none'")
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "vflc"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal is the run's."""
