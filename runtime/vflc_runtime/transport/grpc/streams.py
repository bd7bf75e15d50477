"""The two ends of a stream: one place dials, the other serves. Both feed a `Link`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from queue import Empty, Queue
from threading import Thread
from typing import Any

from vflc_runtime.errors import Failure
from vflc_runtime.transport.descriptors import allowed_connections
from vflc_runtime.transport.ends import PATIENCE, Begun, Dial, Dialing, listening, serve
from vflc_runtime.transport.frames import MAX_HEADER, BadFrame
from vflc_runtime.transport.link import Link
from vflc_runtime.transport.refusing import denied, refused
from vflc_runtime.transport.tls import Identity, expiry, listed, party_of, probe

METHOD = "/vflc.Places/Exchange"


def grpc_module() -> Any:
    """The `grpc` package, quiet; VFL0647 where it is not installed."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import cryptography  # noqa: F401
        import grpc
    except ImportError as error:
        raise Failure(
            "VFL0647", f"parties on their own machines need {error.name!r}", "pip install 'vflc[grpc]'"
        ) from None
    return grpc


def options(largest: int) -> list[tuple[str, int | str]]:
    """Settings of both ends; nothing over `largest` bytes of payload is buffered."""
    return [
        ("grpc.max_receive_message_length", largest + MAX_HEADER),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.http2.lookahead_bytes", 1 << 22),
        ("grpc.so_reuseport", 0),
        ("grpc.enable_http_proxy", 0),  # http_proxy is for the web: parties reach each other, or nobody
        ("grpc.address_http_proxy", ""),
    ]


class Dialer(Dialing):
    """See `Dialing`.

    Args:
        place: whose dialer this is.
        dial: whom to dial, and how.
        own: None for a stream without encryption.
    """

    def __init__(self, place: str, dial: Dial, own: Identity | None) -> None:
        super().__init__(place, dial)
        self._address, self._own, self._parties = dial.address, own, dial.parties
        self._options: list[tuple[str, Any]] = [*options(dial.largest)]
        if own is not None:
            self._options.append(("grpc.ssl_target_name_override", dial.link.peer))
        self._call: Any = None

    def cut(self) -> None:
        """Ends the stream; the next is dialled."""
        if self._call is not None:
            self._call.cancel()

    def _waiting(self) -> bool:
        return self._call is not None

    def _probe(self) -> Failure | None:
        """What cannot be mended; notes when the peer's certificate expires."""
        failure, expires = probe(self._address, self.link.peer, self._parties, self._own)
        self.link.expires = min(self.link.expires, expires)
        return failure

    def _stream(self) -> tuple[bool, Failure | None]:
        """One stream from beginning to end: whether it came about, and what cannot be mended."""
        grpc = grpc_module()
        link, met, why = self.link, False, "closed by the peer"
        stream, hello = link.attach()
        channel = self._channel(grpc)
        try:
            self._begun = time.monotonic()
            exchange = channel.stream_stream(METHOD)
            metadata = (("vflc-place", self._place),)
            self._call = exchange(chain((hello,), link.outgoing(stream)), metadata=metadata)
            for frame in self._call:
                self._arrived(stream, frame)
                met = met or link.connected
            if (gone := self._turned_away()) is not None:
                return met, gone
        except grpc.RpcError as error:
            why = _reason(error)
            if error.code() == grpc.StatusCode.PERMISSION_DENIED:
                return met, denied(link.peer, why)
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in why:
                return met, refused(self._place, link.peer, BadFrame(why))
        finally:
            link.detach(stream, why)
            self._call = None
            channel.close()
        return met, None

    def _channel(self, grpc: Any) -> Any:
        if self._own is None:
            return grpc.insecure_channel(self._address, self._options)
        own = self._own
        credentials = grpc.ssl_channel_credentials(own.authority, own.key, own.certificate)
        return grpc.secure_channel(self._address, credentials, self._options)


class StreamServer:
    """Serves streams of the peers that dial.

    Args:
        place: whose listener this is.
        address: to listen at; port 0 takes a free one, which `port` then says.
        links: by peer, of those that dial.
        own: None for streams without encryption.
        largest: bytes of payload in a frame.
        fail: is told what cannot be mended.
    """

    def __init__(
        self,
        place: str,
        address: str,
        links: Mapping[str, Link],
        own: Identity | None,
        largest: int,
        fail: Callable[[Exception], None],
    ) -> None:
        grpc = self._grpc = grpc_module()
        self._place, self._links, self._own, self._fail = place, links, own, fail
        self.refused: list[str] = []
        most = 2 * len(links) + 4
        pool = ThreadPoolExecutor(most, thread_name_prefix=f"serve {place}")
        settings = [
            *options(largest),
            ("grpc.max_concurrent_streams", 2),
            # Whoever has no certificate gets no further than this.
            ("grpc.max_allowed_incoming_connections", allowed_connections()),
            ("grpc.server_handshake_timeout_ms", int(PATIENCE * 1000)),
            ("grpc.max_connection_idle_ms", int(PATIENCE * 1000)),
        ]
        self._server = grpc.server(pool, options=settings, maximum_concurrent_rpcs=most)
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        service, _, method = METHOD[1:].partition("/")
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        self.port = self._bind(address)

    def _bind(self, address: str) -> int:
        """Takes the port."""
        own, server = self._own, self._server

        def bind() -> int:
            if own is None:
                return int(server.add_insecure_port(address))
            pairs = [(own.key, own.certificate)]
            credentials = self._grpc.ssl_server_credentials(pairs, own.authority, True)
            return int(server.add_secure_port(address, credentials))

        try:
            return listening(bind, RuntimeError)
        except RuntimeError:
            raise Failure(
                "VFL0646",
                f"cannot listen at {address!r}: it is in use, or not an address of this machine",
                "choose another address for `listen`, or stop the process that uses this one",
            ) from None

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0.5).wait(2)

    def _serve(self, frames: Iterator[bytes], context: Any) -> Iterator[bytes]:
        link = self._who(context)
        begun: Begun = Queue()
        Thread(target=self._read, args=(link, frames, begun, context), daemon=True).start()
        try:
            stream = begun.get(timeout=PATIENCE)
        except Empty:
            return
        if stream is not None:
            number, word = stream
            yield word
            if number is not None:
                yield from link.outgoing(number)

    def _who(self, context: Any) -> Link:
        """The link of who dialled; ends the stream of anybody else."""
        if self._own is None:
            names = [str(value) for key, value in context.invocation_metadata() if key == "vflc-place"]
        else:
            told = context.auth_context()
            found = told.get("x509_subject_alternative_name") or told.get("x509_common_name") or ()
            names = [bytes(name).decode("utf-8", "replace") for name in found]
        peer = party_of(names, [*self._links, self._place])
        if peer is None or peer not in self._links:
            self.refused = [*self.refused[-2:], f"{listed(names)} at {time.strftime('%H:%M:%S')}"]
            context.abort(
                self._grpc.StatusCode.PERMISSION_DENIED, f"{self._place} expects other parties to dial"
            )
        link = self._links[str(peer)]
        if self._own is not None:
            link.expires = min(expiry(told["x509_pem_cert"][0]), link.expires)
        return link

    def _read(self, link: Link, frames: Iterator[bytes], begun: Begun, context: Any) -> None:
        serve(self._place, link, _until_it_breaks(frames), begun, self._fail, context.cancel)


def _until_it_breaks(frames: Iterator[bytes]) -> Iterator[bytes]:
    """What a stream brings; gRPC raises a bare `Exception` where it breaks."""
    while True:
        try:
            frame = next(frames)
        except Exception:
            return
        yield frame


def _reason(error: Any) -> str:
    details = " ".join(str(error.details() or error.code().name).split())
    return details if len(details) <= 200 else details[:200] + "…"
