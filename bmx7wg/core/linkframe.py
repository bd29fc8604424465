"""The frame that carries an announcement on a link (design.md 3).

    0   magic "b7wg"
    4   version, 1
    5   flags: 1 solicit, 2 goodbye; others are ignored
    6   Ed25519 public key of the sender, 32 bytes
    38  sequence, 64 bits, big endian
    46  payload, at most 4096 bytes
    -64 Ed25519 signature over all before it

`decode` looks at the form only, which costs about a microsecond; `Frame.authentic` verifies
the signature, which costs a hundred times as much and comes last.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Final

from .identity import NodeId
from .keys import SIGNATURE_SIZE, SigningKey, verify
from .limits import MAX_PAYLOAD

MAGIC: Final = b"b7wg"
VERSION: Final = 1

_HEADER: Final = struct.Struct("!4sBB32sQ")
MIN_FRAME: Final = _HEADER.size + SIGNATURE_SIZE  # bytes
MAX_FRAME: Final = MIN_FRAME + MAX_PAYLOAD  # bytes


class Flags(IntFlag):
    NONE = 0
    SOLICIT = 1  # who hears this is asked to announce itself
    GOODBYE = 2  # the sender leaves; the payload is empty


class FrameError(ValueError):
    """Not a frame of ours; ``reason`` is one stable word, for counters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Frame:
    """A frame as received, its signature not verified yet."""

    flags: Flags
    public_key: bytes
    sequence: int
    payload: bytes
    raw: bytes = field(repr=False)

    @property
    def node_id(self) -> NodeId:
        return NodeId.of_public_key(self.public_key)

    @property
    def authentic(self) -> bool:
        """Whether the holder of the public key's private half made it."""
        signed, signature = self.raw[:-SIGNATURE_SIZE], self.raw[-SIGNATURE_SIZE:]
        return verify(self.public_key, signature, signed)


def encode(flags: Flags, sequence: int, payload: bytes, key: SigningKey) -> bytes:
    """The signed frame as it goes on the wire."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a payload has at most {MAX_PAYLOAD} bytes, not {len(payload)}")
    signed = _HEADER.pack(MAGIC, VERSION, flags, key.public, sequence) + payload
    return signed + key.sign(signed)


def decode(data: bytes) -> Frame:
    """Read a frame without verifying it.

    FrameError: ``magic``, ``version``, ``short`` or ``long``.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise FrameError("magic")
    if data[len(MAGIC) : len(MAGIC) + 1] != bytes([VERSION]):
        raise FrameError("version")
    if len(data) < MIN_FRAME:
        raise FrameError("short")
    if len(data) > MAX_FRAME:
        raise FrameError("long")
    _, _, flags, public_key, sequence = _HEADER.unpack_from(data)
    known = Flags(flags & (Flags.SOLICIT | Flags.GOODBYE))
    return Frame(known, public_key, sequence, data[_HEADER.size : -SIGNATURE_SIZE], data)
