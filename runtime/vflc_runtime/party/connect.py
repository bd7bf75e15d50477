"""From deploy.toml to the connections of a party."""

from __future__ import annotations

from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.errors import Failure
from vflc_runtime.party.deploy import Deploy
from vflc_runtime.party.site import Connect
from vflc_runtime.transport.network import Network


def connector(deploy: Deploy, insecure: bool = False) -> Connect:
    """Makes the network of a party as deploy.toml says it.

    Args:
        deploy: read for this party.
        insecure: without encryption, which only loopback may be (VFL0642).

    Raises:
        Failure: VFL0654 where a certificate is not named.
    """
    from vflc_runtime.transport.linked import LinkedNetwork
    from vflc_runtime.transport.rules import MessageRules
    from vflc_runtime.transport.schemes import chooser
    from vflc_runtime.transport.tls import Tls

    tls: Tls | None = None
    if not insecure:
        files = {"certificate": deploy.certificate, "key": deploy.key, "authority": deploy.authority}
        for name, file in files.items():
            if file is None:
                section = "tls" if name == "authority" else f"parties.{deploy.place}"
                raise Failure(
                    "VFL0654",
                    f"deploy.toml names no {name} for {deploy.place}",
                    f'write {name} = "…pem" in [{section}]; `vflc certs` makes such files for a trial',
                )
        tls = Tls(**{name: file for name, file in files.items() if file is not None})

    def connect(manifest: Manifest, rows: int) -> Network:
        peers = {peer: deploy.addresses.get(peer) for peer in manifest.places if peer != deploy.place}
        rules = MessageRules(manifest, deploy.place, rows)
        ends = chooser(deploy.place, tls)
        return LinkedNetwork(deploy.place, peers, deploy.listen, rules, ends, deploy.timeout)

    return connect
