"""Who connects without a certificate does not end a run."""

from __future__ import annotations

import resource
import socket
from typing import Any

from processes import Party, end, until

LIMIT = 256
"""Descriptors that the listening party may have; a shell gives 1024 more often."""


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT // 2, LIMIT))


def port_of(party: Party) -> int:
    deploy = party.deploy.read_text()
    return int(deploy.split('address = "127.0.0.1:')[1].split('"')[0])


def test_idle_connections_leave_descriptors_for_files(two: list[Party], example: dict[str, Any]) -> None:
    strangers: list[socket.socket] = []
    two[0].start(few_descriptors)
    try:
        until(lambda: connected(two[0], strangers))
        two[1].start()
        until(lambda: all(party.at_work(1) for party in two))
        for _ in range(LIMIT + 50):
            strangers.append(socket.create_connection(("127.0.0.1", port_of(two[0]))))
        end(two, example)
    finally:
        for each in strangers:
            each.close()


def connected(party: Party, strangers: list[socket.socket]) -> bool:
    try:
        strangers.append(socket.create_connection(("127.0.0.1", port_of(party))))
    except ConnectionRefusedError:
        return False
    return True
