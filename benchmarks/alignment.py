"""Private set intersection between two processes over TLS, beside the library alone in one thread.

    python benchmarks/alignment.py [--rows N] [--hash] [--json FILE]

Two tables of N keys, half of them common. The processes share this machine's cores, so the rate is
that of two machines with half of its cores each. `--hash` measures keyed hashes as well. Needs
`vflc[psi,grpc]`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pyarrow as pa
from extras import need
from vflc_runtime.alignment.align import align
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.bundle.manifest import read_manifest
from vflc_runtime.transport.grpc.network import GrpcNetwork
from vflc_runtime.transport.rules import MessageRules
from vflc_runtime.transport.tls import Tls

from vflc.cli.certs import make
from vflc.driver import compile_spec

SPEC = Path(__file__).resolve().parent.parent / "specs" / "deepfm" / "deepfm.vfl"


def keys_of(place: str, rows: int) -> list[str]:
    """Half of them are at the other place, too."""
    first = rows // 2 if place == "bob" else 0
    return [f"user-{number:012d}" for number in range(first, first + rows)]


def party(place: str, folder: Path, rows: int, method: str, ports: Any, results: Queue[Any]) -> None:
    """One process: alice listens, bob dials; puts (place, seconds, common rows, wire bytes out)."""
    certs = folder / "certs"
    tls = Tls(certs / "authority.pem", certs / f"{place}.pem", certs / f"{place}.key")
    rules = MessageRules(read_manifest(folder / "bundle" / "manifest.json"), place, 1)
    if place == "alice":
        network = GrpcNetwork(place, {"bob": None}, "127.0.0.1:0", rules, tls, 60)
        ports.put(network.bind())
    else:
        network = GrpcNetwork(place, {"alice": f"127.0.0.1:{ports.get()}"}, None, rules, tls, 60)
    keys = pa.array(keys_of(place, rows))
    network.open()
    begin = time.perf_counter()
    found = align(method, place, network.peers, keys, network, AlignSettings(key=b"benchmark " * 4))
    seconds = time.perf_counter() - begin
    network.close()
    results.put((place, seconds, len(found), network.traffic[network.peers[0]].wire_out))


def together(folder: Path, rows: int, method: str) -> tuple[float, int]:
    """Seconds of the slower process, and bytes both sent."""
    spawn = multiprocessing.get_context("spawn")
    ports, results = spawn.Queue(), spawn.Queue()
    processes = [
        spawn.Process(target=party, args=(place, folder, rows, method, ports, results))
        for place in ("alice", "bob")
    ]
    for process in processes:
        process.start()
    ended = [results.get() for _ in processes]
    for process in processes:
        process.join()
    assert {common for _, _, common, _ in ended} == {rows - rows // 2}
    return max(seconds for _, seconds, _, _ in ended), sum(sent for *_, sent in ended)


def library_alone(rows: int) -> float:
    """Seconds of the same intersection by the library itself, both sides in one thread."""
    import private_set_intersection.python as psi

    alice, bob = keys_of("alice", rows), keys_of("bob", rows)
    begin = time.perf_counter()
    client, server = psi.client.CreateWithNewKey(True), psi.server.CreateWithNewKey(True)
    setup = server.CreateSetupMessage(1.0, rows, bob, psi.DataStructure.RAW)
    found = client.GetIntersection(setup, server.ProcessRequest(client.CreateRequest(alice)))
    assert len(found) == rows - rows // 2
    return time.perf_counter() - begin


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="keys of each table; 100000")
    parser.add_argument("--hash", action="store_true", help="keyed hashes as well")
    parser.add_argument("--json", type=Path, help="write the results to this file, too")
    options = parser.parse_args()
    need("grpc", "psi")
    rows, results = options.rows, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compile_spec(SPEC).write(folder / "bundle")
        make(folder / "certs", ("alice", "bob"))
        seconds, sent = together(folder, rows, "psi")
        alone = library_alone(rows)
        print(f"psi   {rows:,} × {rows:,}: {seconds:6.1f} s in two processes, {sent / 1e6:.1f} MB")
        print(f"      {'':{len(f'{rows:,} × {rows:,}')}}  {alone:6.1f} s by the library in one thread")
        results.append({
            "name": "psi", "batch": rows, "ours": rows / seconds, "peer": rows / alone,
            "ratio": alone / seconds, "unit": "rows/s",
        })  # fmt: skip
        if options.hash:
            seconds, sent = together(folder, rows, "hash")
            print(f"hash  {rows:,} × {rows:,}: {seconds:6.1f} s in two processes, {sent / 1e6:.1f} MB")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
