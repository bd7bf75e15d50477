"""The language server: it speaks the protocol, and nothing else; what it says comes from the workspace."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any

from lsprotocol.converters import get_converter
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.protocol import JsonRPCProtocol
from pygls.server import JsonRPCServer

from vflc import __version__
from vflc.lsp.analysis import Document
from vflc.lsp.answers import ANSWERS, capabilities
from vflc.lsp.places import LspJson
from vflc.lsp.texts import NotAnswered
from vflc.lsp.workspace import Workspace

PAUSE = 0.05
"""Seconds without a keystroke after which a text is checked."""
CANCEL = "$/cancelRequest"
IDLE = 2.0
"""Seconds without a keystroke after which garbage is looked for, which takes longer than a check."""
MOST_CHECKS = 20
"""So many in a row before it is looked for in any case."""
WATCHED = "**/*.vfl"
"""Files that an editor is asked to tell of when they change on the disk."""


class Superseded(Exception):
    """The text of a check was changed: nobody waits for it any more."""


class ContentModified(JsonRpcException):  # type: ignore[misc,unused-ignore]
    """The text that a request is about was changed before its answer was there; editors ask again."""

    CODE = -32801
    MESSAGE = "the text was changed"


REFUSED = (JsonRpcInvalidParams, ContentModified)
"""What is answered with an error that is none of the server's."""


class PlainProtocol(JsonRPCProtocol):  # type: ignore[misc,unused-ignore]
    """Messages as JSON has them: parameters and results are dictionaries."""

    def structure_message(self, data: dict[str, Any]) -> Any:
        """A message, also of an editor that leaves out parameters where there are none."""
        if "jsonrpc" in data and "method" in data:
            data.setdefault("params", None)
        return super().structure_message(data)

    def _handle_notification(self, method_name: str, params: Any) -> None:
        if method_name == CANCEL:
            self._handle_cancel_notification(params["id"])
        else:
            super()._handle_notification(method_name, params)


class SpecServer(JsonRPCServer):  # type: ignore[misc,unused-ignore]
    """A server with the texts that are open. One thread checks, the loop does all else."""

    def __init__(self) -> None:
        super().__init__(PlainProtocol, get_converter)
        self.specs = Workspace()
        self.checks: dict[str, tuple[Document, Event, asyncio.Future[None]]] = {}
        self.waiting: dict[str, asyncio.Task[None]] = {}
        self.typed: dict[str, float] = {}
        self.resting: asyncio.TimerHandle | None = None
        self.checked_since = 0
        self.can_watch = False
        self.ended = False

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Logs defects: a request that was refused has its answer."""
        if not isinstance(error, REFUSED):
            super().report_server_error(error, source)

    # --- checks ---------------------------------------------------------------------------------

    def soon(self, uri: str, pause: float = PAUSE) -> None:
        """Publishes once nothing is typed for a moment: the next keystroke calls it off."""
        self.drop(uri)
        self.waiting[uri] = asyncio.get_running_loop().create_task(self._publish(uri, pause))

    def drop(self, uri: str) -> None:
        """Ends what is done for a text that is another one now."""
        if (waiting := self.waiting.pop(uri, None)) is not None:
            waiting.cancel()
        if (running := self.checks.pop(uri, None)) is not None:
            running[1].set()

    async def _publish(self, uri: str, pause: float) -> None:
        await asyncio.sleep(pause)
        self._rest()
        if await self.checked(uri):
            found = self.specs.diagnostics(uri)
            self.protocol.notify("textDocument/publishDiagnostics", {"uri": uri, "diagnostics": found})

    def _rest(self) -> None:
        """Looks for garbage once nothing is typed, or after many checks."""
        if self.resting is not None:
            self.resting.cancel()
        self.checked_since += 1
        pause = IDLE if self.checked_since < MOST_CHECKS else 0
        self.resting = asyncio.get_running_loop().call_later(pause, self._collect)

    def _collect(self) -> None:
        self.checked_since = 0
        gc.collect()

    async def checked(self, uri: str) -> bool:
        """Waits until a text is checked, once nothing is typed; whether it is still the same then."""
        document = self.specs.document(uri)
        if document.is_checked:
            return True
        since = asyncio.get_running_loop().time() - self.typed.get(uri, 0)
        if since < PAUSE:
            await asyncio.sleep(PAUSE - since)
            if (now := self.specs.texts.get(uri)) is None or now.document is not document:
                return False
        running = self.checks.get(uri)
        if running is None or running[0] is not document:
            if running is not None:
                running[1].set()
            stop = Event()
            work = asyncio.get_running_loop().run_in_executor(None, _check, document, stop)
            running = self.checks[uri] = document, stop, work
        await asyncio.shield(running[2])
        opened = self.specs.texts.get(uri)
        return document.is_checked and opened is not None and opened.document is document

    # --- what editors tell ----------------------------------------------------------------------

    def initialize(self, params: LspJson) -> LspJson:
        folders = [each["uri"] for each in params.get("workspaceFolders") or ()]
        if not folders and params.get("rootUri"):
            folders = [params["rootUri"]]
        self.specs = Workspace(folders=folders)
        watching = params.get("capabilities", {}).get("workspace", {}).get("didChangeWatchedFiles", {})
        self.can_watch = bool(watching.get("dynamicRegistration"))
        about = {"name": "vflc", "version": __version__}
        return {"capabilities": capabilities(), "serverInfo": about}

    def initialized(self, params: LspJson) -> None:
        if self.can_watch:
            options = {"watchers": [{"globPattern": WATCHED}]}
            method = "workspace/didChangeWatchedFiles"
            wanted = {"id": "specs", "method": method, "registerOptions": options}
            self.protocol.send_request("client/registerCapability", {"registrations": [wanted]})

    def opened(self, params: LspJson) -> None:
        text = params["textDocument"]
        self._again([text["uri"]], self.specs.open(text["uri"], text["text"]), pause=0)

    def changed(self, params: LspJson) -> None:
        uri = params["textDocument"]["uri"]
        self.typed[uri] = asyncio.get_running_loop().time()
        self._again([uri], self.specs.change(uri, params["contentChanges"]))

    def closed(self, params: LspJson) -> None:
        uri = params["textDocument"]["uri"]
        self.drop(uri)
        self.typed.pop(uri, None)
        self._again([], self.specs.close(uri))
        self.protocol.notify("textDocument/publishDiagnostics", {"uri": uri, "diagnostics": []})

    def on_disk(self, params: LspJson) -> None:
        for each in params["changes"]:
            self._again([], self.specs.saved(each["uri"]))

    def _again(self, first: list[str], others: list[str], pause: float = PAUSE) -> None:
        for uri in first:
            self.soon(uri, pause)
        for uri in others:
            self.soon(uri)

    def exit(self, params: LspJson | None) -> None:
        self.shutdown()

    def end(self, params: LspJson | None) -> None:
        for uri in [*self.waiting, *self.checks]:
            self.drop(uri)
        self.ended = True

    # --- what they ask --------------------------------------------------------------------------

    async def answer(self, method: str, params: LspJson | None) -> Any:
        """The answer to a request, once what it needs is known."""
        params = params or {}
        try:
            uri = params.get("textDocument", {}).get("uri")
            if ANSWERS[method].checked and uri is not None and not await self.checked(uri):
                raise ContentModified
            if not ANSWERS[method].slow:
                return self.specs.ask(method, params)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, self.specs.ask, method, params)
        except Superseded:
            raise ContentModified from None
        except NotAnswered as refused:
            raise JsonRpcInvalidParams(str(refused)) from refused


def _check(document: Document, stop: Event) -> None:
    """Checks a text, unless it is changed meanwhile."""

    def going() -> None:
        if stop.is_set():
            raise Superseded

    try:
        document.check(going)
    except Superseded:
        return


def serve() -> None:
    """Speaks with an editor over standard input and output until it ends."""
    logging.getLogger("pygls.protocol.json_rpc").addFilter(_is_defect)
    gc.disable()  # while somebody types: see `SpecServer._rest`
    server = made()
    server.start_io(stdout=os.fdopen(os.dup(1), "wb"))  # it closes what it writes to
    if not server.ended:  # without a word before: as one that failed
        sys.exit(1)


def _is_defect(record: logging.LogRecord) -> bool:
    """A request that was refused has its answer, and nothing to be logged."""
    return not (record.exc_info and isinstance(record.exc_info[1], REFUSED))


def made() -> SpecServer:
    """A server with all features."""
    server = SpecServer()
    told: dict[str, Callable[[Any], Any]] = {
        "initialize": server.initialize,
        "initialized": server.initialized,
        "shutdown": server.end,
        "exit": server.exit,
        "textDocument/didOpen": server.opened,
        "textDocument/didChange": server.changed,
        "textDocument/didClose": server.closed,
        "textDocument/didSave": lambda params: None,
        "workspace/didChangeWatchedFiles": server.on_disk,
        "workspace/didChangeConfiguration": lambda params: None,
        "$/setTrace": lambda params: None,
    }
    for method, handler in told.items():
        server.feature(method)(partial(handler))  # which, other than a method, can be marked
    for method in ANSWERS:
        server.feature(method)(partial(server.answer, method))
    return server
