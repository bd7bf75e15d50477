"""Codecs: a module each, which holds `CODEC`. Others are entry points `vflc.codecs`."""

from vflc_common.codec import Codec
from vflc_common.plugins import Records

CODECS: Records[Codec] = Records("codecs", __name__, "CODEC", Codec)
