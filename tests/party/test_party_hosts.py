"""A link of 40 ms: between two hosts, each a network namespace, and through a proxy on one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from partying import compiled, tensors, train_alone
from processes import STARTED, Party, write_deploy
from specs.examples import prepared, text_of
from transport.wiring import Proxy
from vflc_runtime.train import TrainOptions

from vflc.cli.certs import make

DELAY = "20ms"  # each way


FLAGS = ["--epochs", "2", "--batch", "64", "--threads", "1"]


def example(folder: Path) -> tuple[dict[str, str], Path, Path]:
    """Tables, bundle, and the run in one process."""
    sources = prepared("deepfm", folder / "data", "--generate", 1200)
    bundle = compiled("deepfm", text_of("deepfm", small=True), folder / "bundle")
    return sources, bundle, train_alone(bundle, sources, folder / "alone", TrainOptions(epochs=2, batch=64))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """The names of two namespaces, 10.91.0.1 and 10.91.0.2."""
    if not shutil.which("ip") or not shutil.which("tc"):
        pytest.skip("ip and tc are not installed")
    names = tuple(f"vflc-{os.getpid()}-{side}" for side in "ab")
    links = tuple(f"v{os.getpid()}{side}" for side in "ab")
    try:
        try:
            for name in names:
                _ip("netns", "add", name)
            _ip(
                "link",
                "add",
                links[0],
                "netns",
                names[0],
                "type",
                "veth",
                "peer",
                links[1],
                "netns",
                names[1],
            )
            for number, (name, link) in enumerate(zip(names, links, strict=True), 1):
                _ip("-n", name, "addr", "add", f"10.91.0.{number}/24", "dev", link)
                _ip("-n", name, "link", "set", link, "up")
                delay = ["tc", "qdisc", "add", "dev", link, "root", "netem", "delay", DELAY]
                _ip("netns", "exec", name, *delay)
        except subprocess.CalledProcessError as refused:
            pytest.skip(f"namespaces with a slow link are not allowed here: {refused.stderr.strip()}")
        yield names[0], names[1]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_a_link_of_40_ms_does_not_change_a_bit(hosts: tuple[str, str], tmp_path: Path) -> None:
    sources, _, alone = example(tmp_path)
    make(tmp_path / "certs", ("alice", "bob"))
    lines = ['[tls]\nauthority = "certs/authority.pem"', '[parties.alice]\naddress = "10.91.0.1:7443"']
    for party in sources:
        lines += [] if party == "alice" else [f"[parties.{party}]"]
        lines += [f'data = "{sources[party]}"']
        lines += [f'{what} = "certs/{party}.{end}"' for what, end in (("certificate", "pem"), ("key", "key"))]
    (tmp_path / "deploy.toml").write_text("\n".join(lines))
    processes = {}
    for party, host in zip(sources, hosts, strict=True):
        command = [sys.executable, "-m", "vflc.cli.main", "party", party, "bundle", "--deploy", "deploy.toml"]
        within = ["ip", "netns", "exec", host, *command, "--out", party, *FLAGS]
        processes[party] = subprocess.Popen(
            within, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        STARTED.append(processes[party])
    for party, process in processes.items():
        said = process.communicate(timeout=100)[0].decode(errors="replace")
        assert process.returncode == 0, said
        assert tensors(tmp_path / party, party) == tensors(alone, party)


def test_a_slow_link_does_not_change_a_bit(tmp_path: Path) -> None:
    sources, bundle, alone = example(tmp_path)
    near = write_deploy(tmp_path, sources)
    port = int(near.read_text().split("127.0.0.1:")[1].split('"')[0])
    proxy = Proxy(port)
    proxy.delay = 0.02
    far = tmp_path / "far.toml"
    far.write_text(near.read_text().replace(f"127.0.0.1:{port}", proxy.address))
    parties = [
        Party(name, bundle, deploy, tmp_path / name, FLAGS)
        for name, deploy in zip(sources, (near, far), strict=True)
    ]
    try:
        for party in parties:
            party.start()
        for party in parties:
            assert party.wait() == 0, party.log()
            assert tensors(party.out, party.name) == tensors(alone, party.name)
    finally:
        proxy.close()
