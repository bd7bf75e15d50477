"""Two hosts as network namespaces, each with a link to this one, which passes on what they send, late.

The delay is made here, by a line that holds every piece of data for so long, since not every
kernel has `tc netem`. Needs the right to make namespaces: `Namespaces.reason()` says why not.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Queue


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Namespaces:
    """Hosts by name; each reaches this one at `gateway(name)`, and is reached at `address(name)`."""

    def __init__(self, *names: str) -> None:
        self._net = 1 + os.getpid() % 250
        self._names = {name: number for number, name in enumerate(names)}
        self._made: list[str] = []

    @staticmethod
    def reason() -> str | None:
        """Why no namespaces can be made here; None where they can."""
        if not shutil.which("ip"):
            return "network namespaces need the program `ip`"
        try:
            with Namespaces("trial"):
                return None
        except subprocess.CalledProcessError as error:
            return f"network namespaces are not allowed here: {error.stderr.strip()}"

    def __enter__(self) -> Namespaces:
        try:
            for name in self._names:
                self._make(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for space in self._made:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", space)

    def address(self, name: str) -> str:
        return f"10.213.{self._net}.{4 * self._names[name] + 2}"

    def gateway(self, name: str) -> str:
        return f"10.213.{self._net}.{4 * self._names[name] + 1}"

    def run(self, name: str, command: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        """Starts a program on the host `name`."""
        return subprocess.Popen(["ip", "netns", "exec", self._space(name), *command], **options)  # type: ignore[call-overload, no-any-return]

    def _space(self, name: str) -> str:
        return f"vflc{self._net}-{name}"

    def _make(self, name: str) -> None:
        space, number = self._space(name), self._names[name]
        here, there = f"vf{self._net}h{number}", f"vf{self._net}n{number}"
        ip("netns", "add", space)
        self._made.append(space)
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", space)
        ip("address", "add", f"{self.gateway(name)}/30", "dev", here)
        ip("link", "set", here, "up")
        for arguments in (
            ("address", "add", f"{self.address(name)}/30", "dev", there),
            ("link", "set", there, "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", space, *arguments)


class Late:
    """Passes connections to `address` on to `target`; everything arrives `delay` seconds later."""

    def __init__(self, address: str, target: tuple[str, int], delay: float) -> None:
        self._target, self._delay = target, delay
        self._server = socket.create_server((address, 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(self._target, timeout=60)
            except OSError:
                here.close()
                continue
            for source, sink in ((here, there), (there, here)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                source.settimeout(None)
                line: Queue[tuple[float, bytes]] = Queue()
                threading.Thread(target=self._take, args=(source, line), daemon=True).start()
                threading.Thread(target=self._give, args=(line, sink), daemon=True).start()

    def _take(self, source: socket.socket, line: Queue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            line.put((time.monotonic() + self._delay, data))

    def _give(self, line: Queue[tuple[float, bytes]], sink: socket.socket) -> None:
        while True:
            due, data = line.get()
            time.sleep(max(due - time.monotonic(), 0))
            try:
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
            except OSError:
                return
