"""How a peer is refused: what this place says of it, and the frame that tells it so."""

from __future__ import annotations

from vflc_runtime.errors import PEER, Failure
from vflc_runtime.transport.frames import BadFrame, Frame, FrameKind, NotFiniteFrame, encode
from vflc_runtime.transport.network import REASONS, Reason


def refused(place: str, peer: str, why: BadFrame) -> Failure:
    """VFL0645: what a peer sent is no frame or may not come; VFL0611: it is not finite. Nothing was used."""
    if isinstance(why, NotFiniteFrame):
        return Failure(
            "VFL0611",
            f"{place!r} refused what {peer!r} sent: NaN or an infinity in {why}",
            f"check the data and the loss of {peer!r}; lower the learning rate or clip gradients",
            exit_code=PEER,
        )
    return Failure(
        "VFL0645",
        f"{place!r} refused a frame of {peer!r}: {why}",
        "run the same bundle and the same version on both sides; check what is between them",
        exit_code=PEER,
    )


def taken(place: str, peer: str) -> Failure:
    """VFL0657: the peer speaks with another process of this party."""
    return Failure(
        "VFL0657",
        f"another process runs as {place!r}: {peer!r} is connected to that one and continues with it",
        f"run one process of {place!r} at a time; if the other one is the wrong one, stop it",
        exit_code=PEER,
    )


def denied(peer: str, why: str) -> Failure:
    """VFL0644: the peer expects somebody else to dial."""
    return Failure(
        "VFL0644",
        f"{peer!r} does not accept this party: {why}",
        "the name in the certificate must be that of the party in the bundle",
        exit_code=PEER,
    )


def refusal(reason: Reason) -> bytes:
    """The last frame of a stream that is refused."""
    return encode(Frame(FrameKind.REFUSAL, reason=REASONS.index(reason)))
