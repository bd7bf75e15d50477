"""Two hosts, 40 ms apart: to the bit what one process computes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from partying import compiled, tensors, train_alone
from specs.examples import prepared, text_of
from transport.namespaces import Late, Namespaces
from vflc_runtime.run.train import TrainOptions

from vflc.cli.certs import make

DELAY = 0.02
"""Seconds in each direction."""
STEPS = 20
REASON = Namespaces.reason()


@pytest.mark.skipif(REASON is not None, reason=str(REASON))
def test_a_run_between_two_hosts(tmp_path: Path) -> None:
    sources = prepared("deepfm", tmp_path / "data", "--generate", 400)
    bundle = compiled("deepfm", text_of("deepfm", small=True), tmp_path / "bundle")
    options = TrainOptions(epochs=1, batch=20, validation=0.0)
    alone = train_alone(bundle, sources, tmp_path / "alone", options)
    make(tmp_path, ("alice", "bob"))
    flags = ["--epochs", "1", "--batch", "20", "--validation", "0", "--threads", "1", "--timeout", "60"]
    with Namespaces("alice", "bob") as hosts:
        late = Late(hosts.gateway("bob"), (hosts.address("alice"), 7443), DELAY)
        running = []
        for name in ("alice", "bob"):
            address = (
                f"{hosts.address('alice')}:7443" if name == "alice" else f"{hosts.gateway('bob')}:{late.port}"
            )
            deploy = tmp_path / f"{name}.toml"
            deploy.write_text(
                f'[parties.alice]\naddress = "{address}"\n'
                + "[parties.bob]\n" * (name == "bob")
                + f'data = "{sources[name]}"\ncertificate = "{name}.pem"\nkey = "{name}.key"\n'
                + '[tls]\nauthority = "authority.pem"\n'
            )
            command = [
                sys.executable,
                "-m",
                "vflc.cli.main",
                "party",
                name,
                str(bundle),
                "--deploy",
                str(deploy),
            ]
            with (tmp_path / f"{name}.log").open("wb") as log:
                out = ["--out", str(tmp_path / name)]
                running.append(
                    hosts.run(name, [*command, *out, *flags], stdout=log, stderr=subprocess.STDOUT)
                )
        begin = time.monotonic()
        try:
            codes = [each.wait(240) for each in running]
        finally:
            for each in running:
                each.kill()
            late.close()
    logs = [(tmp_path / f"{name}.log").read_text("utf-8") for name in ("alice", "bob")]
    assert codes == [0, 0], "\n".join(logs)
    assert time.monotonic() - begin > STEPS * 2 * DELAY, "the way is as long as it was to be"
    for name in ("alice", "bob"):
        assert tensors(tmp_path / name, name) == tensors(alone, name)
