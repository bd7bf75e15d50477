"""Noise that a run has once and for all: what goes on from a checkpoint sends again what it has sent.

    RUN/PLACE/protections.safetensors   the secret that a place's noise is made from, for its owner alone
    LEDGER/PLACE-RUN.sent               which noise each message of the run had; RUN/PLACE/noise.sent
                                        where nothing is counted

The noise of a message is made from the secret, the message's place in the run, and everything that came
from others before it. Who goes on from a checkpoint and hears the same again thus makes the same message
to the bit, which tells nothing new. Who hears anything else has noise that has nothing to do with the
first: two messages never differ by what they hide alone.

Whether a message is the same again is decided by what came from others, never by what it hides: that two
hidden values are equal would tell of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime import files
from vflc_runtime.bundle.plan_guards import Guard
from vflc_runtime.errors import Failure
from vflc_runtime.protect.account import Facts
from vflc_runtime.protect.noise import Noise

MessageId = tuple[str, int, int, str, int]
"""Program, epoch, which step or batch of it, guard, which time: what a row sends once, and when."""
SECRET = 32
"""Bytes of a secret, and of what was heard."""
RECORD = 16
"""Bytes by which a message is known again, and as many for its noise."""
UNSYNCED = 64
"""Messages whose records a power failure may take."""
_OPENED, _CLOSED = b"opened".ljust(RECORD, b"\0"), b"closed".ljust(RECORD, b"\0")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class NoiseReplay:
    """What a place has heard since its run began, and the noise that follows from it.

    Args:
        secret: of the place, for this run alone.
        terms: all that a step's bits depend on besides: data, options, the key of a secret start, program,
            versions, processor.
        facts: of the run.
    """

    def __init__(self, secret: bytes, terms: Mapping[str, Any], facts: Facts) -> None:
        self.secret, self._facts = secret, facts
        self._terms = json.dumps(terms, sort_keys=True).encode()
        self.chain = bytes(SECRET)
        self._now = hashlib.blake2b(digest_size=SECRET)
        self._program, self._steps, self._batches = "", 0, 0
        self._sent: Sent | None = None
        self._charge: Callable[[str], None] = lambda guard: None
        self._charged = set[tuple[str, int]]()

    def watch(self, sent: Sent, charge: Callable[[str], None]) -> None:
        """Compares what is sent with what was.

        `charge` is told of a guard before all rows of an epoch send once more by it.
        """
        self._sent, self._charge = sent, charge

    def resume(self, chain: bytes, steps: int) -> None:
        """Goes on from a checkpoint after so many steps."""
        self.chain, self._steps = chain, steps

    def begin(self, program: str) -> None:
        """A program begins; what one heard that did not come to its end is forgotten."""
        self._program = program
        self._now = hashlib.blake2b(self.chain + program.encode(), digest_size=SECRET)

    def hear(self, edge: str, values: Array) -> None:
        """Takes in what came by an edge, [rows, …], as it is computed with."""
        self._now.update(json.dumps([edge, values.dtype.str, values.shape]).encode())
        self._now.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)

    def finish(self) -> None:
        """The program came to its end."""
        self.chain = self._now.digest()
        training = self._program == "train"
        self._steps, self._batches = self._steps + training, 0 if training else self._batches + 1

    def noise(self, guard: Guard, times: int) -> Noise:
        """The noise of a guard, the `times`-th time that it runs in a program.

        It is that of before where the message is the same; another message in its place is charged, once
        for all rows of an epoch.
        """
        made = hashlib.blake2b(self._terms, key=self.secret, digest_size=SECRET)
        made.update(self._now.digest() + json.dumps([guard.id, times]).encode())
        key = made.digest()
        if self._sent is not None and guard.calibrated:
            training = self._program == "train"
            epoch = self._facts.epochs_of(self._steps + training)
            message = (self._program, epoch, self._steps if training else self._batches, guard.id, times)
            if (guard.id, epoch) not in self._charged and self._sent.otherwise(message, key):
                self._charge(guard.id)
                self._charged.add((guard.id, epoch))
            self._sent.note(message, key)
        return noise_from(key)


def noise_from(key: bytes) -> Noise:
    """Noise that follows from a key: SHAKE256 of it, and of how often was asked before."""
    asked = 0

    def source(count: int) -> bytes:
        nonlocal asked
        asked += 1
        return hashlib.shake_256(key + asked.to_bytes(8, "big")).digest(count)

    return Noise(source)


class Sent:
    """Which noise each message of a run had, in a file that is written before a message leaves.

    Records survive the end of the process at once, and a power failure from the next of every
    `UNSYNCED` on: so many messages that are not in the file count as sent otherwise where it was
    neither closed nor written since the machine was started.

    Args:
        path: as made by `create`.

    Raises:
        Failure: VFL0686, there is no file; VFL0628, another process is at work on the run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            raise Failure(
                "VFL0686",
                f"{path}, which says what this run has sent, is lost",
                "restore it from a copy: without it, the cost of the rows is unknown",
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.check_secret(path)
        except OSError:
            os.close(self._file)
            raise Failure("VFL0628", f"another process is using {path}") from None
        except Failure:
            os.close(self._file)
            raise
        boot = _boot()
        self._messages, self._records = set[bytes](), set[bytes]()
        last = self._read()
        known = last is None or last[:RECORD] == _CLOSED or last[RECORD:] == boot != bytes(RECORD)
        self._doubtful = 0 if known else UNSYNCED
        self._unsynced = UNSYNCED  # so that the next record is synced
        self._write(_OPENED + (boot if known else bytes(RECORD)))

    @staticmethod
    def create(path: Path) -> None:
        """Makes the file of a run that begins."""
        with files.writing(path):
            files.write_bytes(path, b"")
            files.sync(path.parent)

    def _read(self) -> bytes | None:
        """Takes in what the file has; the last record that says how it was left."""
        content, size, last = self._path.read_bytes(), 2 * RECORD, None
        whole = len(content) - len(content) % size
        if whole != len(content):
            os.truncate(self._path, whole)
        for start in range(0, whole, size):
            record = content[start : start + size]
            if record[:RECORD] in (_OPENED, _CLOSED):
                last = record
            else:
                self._messages.add(record[:RECORD])
                self._records.add(record)
        return last

    def otherwise(self, message: MessageId, key: bytes) -> bool:
        """Whether a message was sent before with noise of another key, or nobody knows."""
        record = _record(message, key)
        if record[:RECORD] in self._messages:
            return record not in self._records
        return self._doubtful > 0

    def note(self, message: MessageId, key: bytes) -> None:
        """Writes down that a message leaves with noise of a key."""
        record = _record(message, key)
        if record in self._records:
            return
        self._doubtful -= self._doubtful > 0 and record[:RECORD] not in self._messages
        self._messages.add(record[:RECORD])
        self._records.add(record)
        self._write(record)

    def _write(self, record: bytes) -> None:
        with files.writing(self._path):
            os.write(self._file, record)
            self._unsynced += 1
            if self._unsynced > UNSYNCED or record[:RECORD] == _CLOSED:
                os.fsync(self._file)
                self._unsynced = 0

    def close(self) -> None:
        """Nothing more is sent."""
        try:
            if not self._doubtful:
                self._write(_CLOSED + bytes(RECORD))
        finally:
            os.close(self._file)


def _record(message: MessageId, key: bytes) -> bytes:
    which = hashlib.blake2b(json.dumps(message).encode(), digest_size=RECORD).digest()
    return which + hashlib.blake2b(key, digest_size=RECORD, person=b"sent").digest()


def _boot() -> bytes:
    """Which start of the machine this is; zeros where it does not say."""
    try:
        return hashlib.blake2b(_BOOT.read_bytes(), digest_size=RECORD).digest()
    except OSError:
        return bytes(RECORD)
