"""Parties in processes of their own, over TLS on loopback, against the same run in one process.

    python benchmarks/transport.py [--rows N] [--rounds N] [--scheme tls] [--json FILE]

DeepFM at batch 1024, by `vflc train` and by two `vflc party`, in alternation; the first epoch of
each run is not counted, and the median of the rounds' ratios is reported. On one machine the two
processes share its cores, so that this shows what the transport costs, not what two machines gain.
Then the bytes of frames against the payload that the manifest declares, and round trips of 32 KiB
through a `Network`, against a bare stream of gRPC that does nothing else; both ends are in this
process, under one interpreter lock. Needs `vflc[grpc]`.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np
from contest import result, show
from extras import need
from vflc_runtime.bundle.manifest import Edge, Manifest, Message
from vflc_runtime.transport.grpc.network import GrpcNetwork
from vflc_runtime.transport.messages import Envelope
from vflc_runtime.transport.rules import MessageRules
from vflc_runtime.transport.tls import Tls

from vflc.cli.certs import make

SPECS = Path(__file__).resolve().parent.parent / "specs"
BATCH, EPOCHS = 1024, 4
TRIPS = 2000
VFLC = [sys.executable, "-m", "vflc.cli.main"]


def prepared(folder: Path, rows: int, scheme: str = "grpc") -> Path:
    """The bundle, tables, certificates and deploy.toml, with addresses of a scheme."""
    prepare = [sys.executable, str(SPECS / "deepfm" / "prepare.py")]
    subprocess.run(
        [*prepare, "--generate", str(rows), "--out", str(folder)], check=True, stdout=subprocess.DEVNULL
    )
    spec = str(SPECS / "deepfm" / "deepfm.vfl")
    subprocess.run(
        [*VFLC, "compile", spec, "-o", str(folder / "bundle")], check=True, stdout=subprocess.DEVNULL
    )
    make(folder, ("alice", "bob"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"{scheme}://127.0.0.1:{free.getsockname()[1]}"
    lines = [f'[parties.alice]\naddress = "{address}"', "[parties.bob]"]
    lines = [
        f'{line}\ndata = "{name}.parquet"\ncertificate = "{name}.pem"\nkey = "{name}.key"'
        for line, name in zip(lines, ("alice", "bob"), strict=True)
    ]
    (folder / "deploy.toml").write_text("\n".join([*lines, '[tls]\nauthority = "authority.pem"']) + "\n")
    return folder / "bundle"


OPTIONS = ["--batch", str(BATCH), "--epochs", str(EPOCHS), "--validation", "0", "--overwrite"]


def local(folder: Path) -> float:
    """Rows a second of the run in one process."""
    data = [part for name in ("alice", "bob") for part in ("--data", f"{name}={folder / name}.parquet")]
    out = folder / "local"
    command = [*VFLC, "train", str(folder / "bundle"), *data, "--out", str(out), *OPTIONS]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return rate(out)


def parties(folder: Path) -> float:
    """Rows a second of two processes."""
    deploy = ["--deploy", str(folder / "deploy.toml")]
    running = [
        subprocess.Popen(
            [*VFLC, "party", name, str(folder / "bundle"), *deploy, "--out", str(folder / name), *OPTIONS],
            stdout=subprocess.DEVNULL,
        )
        for name in ("alice", "bob")
    ]
    codes = [each.wait() for each in running]
    if any(codes):
        raise SystemExit("a party failed")
    return rate(folder / "bob")


def rate(run: Path) -> float:
    """Rows a second of a run's epochs but the first."""
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    rows = json.loads((run / "metrics.json").read_bytes())["train_rows"]
    return float(rows * (len(history) - 1) / (history[-1]["seconds"] - history[0]["seconds"]))


# --- round trips -----------------------------------------------------------------------------


def manifest() -> Manifest:
    """A message of 32 KiB each way."""
    edges, messages = {}, {}
    for a, b in (("alice", "bob"), ("bob", "alice")):
        name = f"{a}>{b}"
        edges[name] = Edge(name, name, a, b, "forward", ("batch", 8), "float32", ("train",))
        messages[name] = Message(name, a, b, "forward", ("train",), (name,))
    both = ("alice", "bob")
    return Manifest("m", "float32", "0", both, both, edges, messages, "0", {}, {})


def through_network(folder: Path) -> tuple[float, float]:
    """Microseconds of a round trip, and frames' bytes for a byte of payload."""
    tls = {
        name: Tls(folder / "authority.pem", folder / f"{name}.pem", folder / f"{name}.key")
        for name in ("alice", "bob")
    }
    declared = manifest()
    alice = GrpcNetwork(
        "alice", {"bob": None}, "127.0.0.1:0", MessageRules(declared, "alice", BATCH), tls["alice"], 30
    )
    address = f"127.0.0.1:{alice.bind()}"
    bob = GrpcNetwork("bob", {"alice": address}, None, MessageRules(declared, "bob", BATCH), tls["bob"], 30)
    tensor = np.ones((BATCH, 8), np.float32)

    def answer() -> None:
        bob.open()
        for step in range(TRIPS + 1):
            got = bob.take("alice", "alice>bob").tensors["alice>bob"]
            bob.send("alice", Envelope("bob>alice", "bob", "forward", "train", step, {"bob>alice": got}))
        bob.close()

    def trip() -> None:
        alice.send("bob", Envelope("alice>bob", "alice", "forward", "train", 1, {"alice>bob": tensor}))
        alice.take("bob", "bob>alice")

    Thread(target=answer, daemon=True).start()
    alice.open()
    spent = timed(trip)
    alice.close()
    return spent, alice.traffic["bob"].wire_out / alice.traffic["bob"].payload_out


def bare() -> float:
    """Microseconds of a round trip of 32 KiB on a stream of gRPC without TLS."""
    import grpc

    def echo(frames: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from frames

    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.method_handlers_generic_handler(
        "Bare", {"Echo": grpc.stream_stream_rpc_method_handler(echo)}
    )
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    out: SimpleQueue[bytes | None] = SimpleQueue()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        back = channel.stream_stream("/Bare/Echo")(iter(out.get, None))
        message = bytes(1 << 15)

        def trip() -> None:
            out.put(message)
            next(back)

        spent = timed(trip)
        out.put(None)
    server.stop(None).wait()
    return spent


def timed(trip: Callable[[], None]) -> float:
    times = []
    for _ in range(TRIPS + 1):
        start = time.perf_counter()
        trip()
        times.append(time.perf_counter() - start)
    return statistics.median(times[TRIPS // 10 :]) * 1e6


def main() -> None:
    """Prints and writes the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scheme", default="grpc", choices=("grpc", "tls"), help="of the two processes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    need("grpc")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder, options.rows, options.scheme)
        rounds = [(parties(folder), local(folder)) for _ in range(options.rounds)]
        trip, wire = through_network(folder)
    stream = bare()
    two, one = zip(*rounds, strict=True)
    results = [
        result("deepfm, two processes beside one", BATCH, two, one),
        result("bytes of frames a byte of payload", BATCH, [wire], [1.0], "bytes"),
        result("round trip beside bare gRPC", BATCH, [trip], [stream], "µs"),
    ]
    for found in results:
        show(found)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
