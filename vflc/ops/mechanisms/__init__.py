"""Protections: a module each, which holds `MECHANISM`. Others are entry points `vflc.protections`."""

from vflc_common.plugins import Records

from vflc.ops.protection import Mechanism, Role

MECHANISMS: Records[Mechanism] = Records("protections", __name__, "MECHANISM", Mechanism)


def suggested(role: Role, epsilon: float) -> str:
    """How to ask for one of ours that is of a role and bounds ε."""
    found = next(each.suggests for each in MECHANISMS if each.role == role and each.suggests)
    return found.format(epsilon=epsilon)
