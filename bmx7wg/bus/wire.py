"""Messages of D-Bus: whole ones out, headers in. No input and output here.

Written from the D-Bus specification, "Message Protocol".
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import Any, Final, NamedTuple

from .values import marshal, pad, unmarshal

FIXED_HEADER: Final = 16  # bytes up to and including the length of the header fields
MAX_MESSAGE: Final = 1 << 27  # bytes; the specification's limit

_LITTLE: Final = ord("l")
_BIG: Final = ord("B")
_VERSION: Final = 1
_FIELDS_AT: Final = 12  # the offset of the array of header fields

_START: Final = struct.Struct("<BBBBIII")
_SIZES: Final = {_LITTLE: struct.Struct("<III"), _BIG: struct.Struct(">III")}

#: Header fields: number, name, type; in the order of `Header`.
_FIELDS: Final = (
    (1, "path", "o"),
    (2, "interface", "s"),
    (3, "member", "s"),
    (4, "error_name", "s"),
    (5, "reply_serial", "u"),
    (6, "destination", "s"),
    (7, "sender", "s"),
    (8, "signature", "g"),
)
_pack_serial: Final = struct.Struct("<I").pack
_TYPES: Final = {number: int if type_ == "u" else str for number, _, type_ in _FIELDS}


class Kind(IntEnum):
    CALL = 1
    RETURN = 2
    ERROR = 3
    SIGNAL = 4


class Flag(IntFlag):
    NO_REPLY_EXPECTED = 1
    NO_AUTO_START = 2
    ALLOW_INTERACTIVE_AUTHORIZATION = 4


_NO_REPLY: Final = int(Flag.NO_REPLY_EXPECTED)  # many times faster than the enumeration's


class Framing(Exception):
    """The stream can't be followed any more: this is not D-Bus."""


class Header(NamedTuple):
    """What a message says of itself; a field that is missing is empty."""

    order: str  # "<" or ">", as in struct
    kind: int
    flags: int
    serial: int
    body_size: int  # bytes
    path: str = ""
    interface: str = ""
    member: str = ""
    error_name: str = ""
    reply_serial: int = 0
    destination: str = ""
    sender: str = ""
    signature: str = ""

    @property
    def wants_no_reply(self) -> bool:
        return bool(self.flags & _NO_REPLY)


def message(
    kind: Kind,
    serial: int,
    body: bytes | bytearray = b"",
    *,
    flags: int = 0,
    reply_serial: int = 0,
    **texts: str,
) -> bytes:
    """A whole message around a marshalled body; *texts* are the other fields of `Header`."""
    size, before, after = _head(bool(reply_serial), **texts)
    start = _START.pack(_LITTLE, kind, flags, _VERSION, len(body), serial, size)
    reply = _pack_serial(reply_serial) if reply_serial else b""
    return b"".join((start, before, reply, after, body))


@lru_cache(256)  # signals apart, one message differs from another in its serials alone
def _head(reply: bool, **texts: str) -> tuple[int, bytes, bytes]:
    """The size of the header fields in bytes, then the fields up to a reply's serial and after."""
    out = bytearray()
    split = 0
    for number, name, type_ in _FIELDS:
        if type_ == "u" and reply:
            pad(out, 8)
            out += _start(number, type_)
            split = len(out)
            out += bytes(4)
        elif value := texts.get(name):
            pad(out, 8)
            out += _start(number, type_) + marshal(type_, (value,))
    size = len(out)
    pad(out, 8)
    return size, bytes(out[:split]), bytes(out[split + 4 * reply :])


def _start(number: int, type_: str) -> bytes:
    """The number of a header field, and the signature of its value."""
    return bytes((number, 1, ord(type_), 0))


def sizes(data: bytes | bytearray, at: int = 0) -> tuple[int, int]:
    """Sizes in bytes (whole header with its padding, body) from 16 bytes of *data*.

    Raises Framing: after that there is no finding the next message.
    """
    if data[at] not in (_LITTLE, _BIG) or data[at + 3] != _VERSION:
        raise Framing("this is not version 1 of the D-Bus protocol")
    body, _, fields = _SIZES[data[at]].unpack_from(data, at + 4)
    header = FIXED_HEADER + (fields + 7 & ~7)
    if header + body > MAX_MESSAGE:
        raise Framing("a message longer than D-Bus allows")
    return header, body


def parse_header(data: bytes) -> Header | None:
    """Read a whole header as `sizes` measured it; None if it makes no sense.

    Fields that we don't know are passed over, as the specification asks.
    """
    order = "<" if data[0] == _LITTLE else ">"
    body, serial, _ = _SIZES[data[0]].unpack_from(data, 4)
    fields = _fields(order, data[_FIELDS_AT:])
    if fields is None:
        return None
    return Header(order, data[1], data[2], serial, body, *fields)


@lru_cache(256)  # who calls much calls the same
def _fields(order: str, data: bytes) -> tuple[Any, ...] | None:
    """The fields of a header from the size of their array on; None if they make no sense."""
    found: dict[int, Any] = {number: kind() for number, kind in _TYPES.items()}
    try:
        # The fields begin in the middle of eight bytes, and that is what alignment goes by.
        (fields,) = unmarshal("a(yv)", bytes(4) + data, order=order, at=4)
    except ValueError:
        return None
    for number, value in fields:
        if number in found:
            if type(value) is not _TYPES[number]:
                return None
            found[number] = value
    return tuple(found.values())
