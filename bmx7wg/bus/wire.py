"""The wire format of D-Bus: messages out of values, headers out of bytes.

Written from the D-Bus specification, "Message Protocol". Only what is hot or what must be
checked before anything else is decoded; what comes in a body is decoded by the library.
No input and output here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import Any, Final

FIXED_HEADER: Final = 16  # bytes up to and including the length of the header fields
MAX_MESSAGE: Final = 1 << 27  # bytes; the specification's limit

_WRITER = Callable[[bytearray, Any], None]
_PADDING: Final = [bytes(n) for n in range(8)]
_ALIGNMENT: Final = {"y": 1, "g": 1, "v": 1, "n": 2, "q": 2} | dict.fromkeys("xtd({", 8)  # else 4


class Kind(IntEnum):
    CALL = 1
    RETURN = 2
    ERROR = 3
    SIGNAL = 4


class Flag(IntFlag):
    NO_REPLY_EXPECTED = 1
    NO_AUTO_START = 2
    ALLOW_INTERACTIVE_AUTHORIZATION = 4


class Framing(Exception):
    """The stream can't be followed any more: this is not D-Bus."""


# -- out --------------------------------------------------------------------------------------


def marshal(signature: str, values: Sequence[Any]) -> bytearray:
    """A message body: *values*, one for each complete type of *signature*.

    A variant is given as a pair (signature, value). The values are our own: a wrong one raises
    struct.error or TypeError; text that D-Bus can't carry is replaced, for it would end the
    connection.
    """
    out = bytearray()
    for write, value in zip(_writers(signature), values, strict=True):
        write(out, value)
    return out


def message(
    kind: Kind,
    serial: int,
    *,
    flags: int = 0,
    path: str = "",
    interface: str = "",
    member: str = "",
    error_name: str = "",
    reply_serial: int = 0,
    destination: str = "",
    signature: str = "",
    body: bytes | bytearray = b"",
) -> bytes:
    """A whole message around a marshalled body."""
    fields = [
        (number, (type_, value))
        for number, type_, value in (
            (1, "o", path),
            (2, "s", interface),
            (3, "s", member),
            (4, "s", error_name),
            (5, "u", reply_serial),
            (6, "s", destination),
            (8, "g", signature),
        )
        if value
    ]
    out = marshal("yyyyuua(yv)", (0x6C, kind, flags, 1, len(body), serial, fields))
    _align(out, 8)
    return b"".join((out, body))


def alignment(token: str) -> int:
    """The alignment of the type that begins with *token*, in bytes."""
    return _ALIGNMENT.get(token, 4)


def _align(out: bytearray, size: int) -> None:
    out += _PADDING[-len(out) & (size - 1)]


def _fixed(code: str, size: int) -> _WRITER:
    pack = struct.Struct("<" + code).pack

    def write(out: bytearray, value: Any) -> None:
        out += _PADDING[-len(out) & (size - 1)] + pack(value)

    return write


_LENGTH = struct.Struct("<I")


def _string(out: bytearray, value: str) -> None:
    raw = value.encode("utf-8", "replace")
    if 0 in raw:
        raw = raw.replace(b"\0", b"?")
    out += _PADDING[-len(out) & 3] + _LENGTH.pack(len(raw)) + raw + b"\0"


def _signature(out: bytearray, value: str) -> None:
    raw = value.encode("ascii")
    out += bytes((len(raw),)) + raw + b"\0"


def _variant(out: bytearray, value: tuple[str, Any]) -> None:
    signature, content = value
    _signature(out, signature)
    (write,) = _writers(signature)
    write(out, content)


_BASIC: Final[dict[str, _WRITER]] = {
    "y": _fixed("B", 1),
    "n": _fixed("h", 2),
    "q": _fixed("H", 2),
    "i": _fixed("i", 4),
    "u": _fixed("I", 4),
    "x": _fixed("q", 8),
    "t": _fixed("Q", 8),
    "d": _fixed("d", 8),
    "b": _fixed("I", 4),
    "s": _string,
    "o": _string,
    "g": _signature,
    "v": _variant,
}


def _array(element: _WRITER, align: int, *, mapping: bool) -> _WRITER:
    def write(out: bytearray, value: Any) -> None:
        _align(out, 4)
        at = len(out)
        out += b"\0\0\0\0"
        _align(out, align)
        start = len(out)
        for item in value.items() if mapping else value:
            element(out, item)
        _LENGTH.pack_into(out, at, len(out) - start)

    return write


def _struct(members: tuple[_WRITER, ...]) -> _WRITER:
    def write(out: bytearray, value: Sequence[Any]) -> None:
        _align(out, 8)
        for member, item in zip(members, value, strict=True):
            member(out, item)

    return write


@lru_cache(maxsize=256)  # only signatures of our own come here
def _writers(signature: str) -> tuple[_WRITER, ...]:
    writers = []
    while signature:
        write, signature = _compile(signature)
        writers.append(write)
    return tuple(writers)


def _compile(signature: str) -> tuple[_WRITER, str]:
    token, rest = signature[0], signature[1:]
    if token == "a":
        element, after = _compile(rest)
        return _array(element, alignment(rest[0]), mapping=rest[0] == "{"), after
    if token in "({":
        members = []
        while rest[0] not in ")}":
            member, rest = _compile(rest)
            members.append(member)
        return _struct(tuple(members)), rest[1:]
    return _BASIC[token], rest


# -- in ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """What a message says of itself; a field that is missing is empty."""

    order: str  # "<" or ">", as in struct
    kind: int
    flags: int
    serial: int
    body_size: int
    path: str = ""
    interface: str = ""
    member: str = ""
    error_name: str = ""
    reply_serial: int = 0
    destination: str = ""
    sender: str = ""
    signature: str = ""


_FIELDS: Final[dict[int, tuple[str, str]]] = {
    1: ("path", "o"),
    2: ("interface", "s"),
    3: ("member", "s"),
    4: ("error_name", "s"),
    5: ("reply_serial", "u"),
    6: ("destination", "s"),
    7: ("sender", "s"),
    8: ("signature", "g"),
}


def sizes(start: bytes | bytearray) -> tuple[int, int]:
    """Sizes in bytes (whole header with its padding, body) from the first 16 bytes.

    Raises Framing: after that there is no finding the next message.
    """
    order = {0x6C: "<", 0x42: ">"}.get(start[0])
    if order is None or start[3] != 1:
        raise Framing("this is not version 1 of the D-Bus protocol")
    body, _, fields = struct.unpack_from(order + "III", start, 4)
    header = FIXED_HEADER + (fields + 7 & ~7)
    if header + body > MAX_MESSAGE:
        raise Framing("a message longer than D-Bus allows")
    return header, body


def parse_header(data: bytes) -> Header | None:
    """Read a whole header as `sizes` measured it; None if it makes no sense.

    Fields that we don't know are passed over if they hold a plain type, as the specification
    asks; a message that carries a stranger one is not for us.
    """
    order = "<" if data[0] == 0x6C else ">"
    body, serial, length = struct.unpack_from(order + "III", data, 4)
    found: dict[str, Any] = {}
    at, end = FIXED_HEADER, FIXED_HEADER + length
    try:
        while at < end:
            at = at + 7 & ~7
            number, size = data[at], data[at + 1]
            type_ = data[at + 2 : at + 2 + size].decode("ascii")
            value, at = _plain(data, at + 3 + size, type_, order)
            name, expected = _FIELDS.get(number, ("", type_))
            if type_ != expected:
                return None
            if name:
                found[name] = value
    except (IndexError, struct.error, UnicodeDecodeError):
        return None
    if at > end:
        return None
    return Header(order, data[1], data[2], serial, body, **found)


_SIZE: Final = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}


def _plain(data: bytes, at: int, type_: str, order: str) -> tuple[Any, int]:
    """The value of a plain type and where it ends; struct.error if it is not one."""
    if type_ in ("s", "o"):
        at = at + 3 & ~3
        (size,) = struct.unpack_from(order + "I", data, at)
        at += 4
    elif type_ == "g":
        size = data[at]
        at += 1
    else:
        code = struct.Struct(order + _SIZE.get(type_, "!"))  # "!" inside a format is an error
        at = at + code.size - 1 & -code.size
        return code.unpack_from(data, at)[0], at + code.size
    if at + size >= len(data):
        raise IndexError
    return data[at : at + size].decode("utf-8"), at + size + 1
