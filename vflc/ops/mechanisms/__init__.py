"""Protections: a module each, which holds `MECHANISM`. Others are entry points `vflc.protections`."""

from vflc_common.plugins import Records

from vflc.ops.protection import Mechanism

MECHANISMS: Records[Mechanism] = Records("protections", __name__, "MECHANISM", Mechanism)
