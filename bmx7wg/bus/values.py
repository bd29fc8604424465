"""Values of D-Bus types, to bytes and back.

Written from the D-Bus specification, "Type System" and "Marshaling". A signature is compiled
once to functions that follow one another. Out: a variant is a pair (signature, value), and the
byte order is little endian. In: plain Python values, variants unwrapped, structs as tuples;
whatever the bytes are, the answer is a value or ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

_Writer = Callable[[bytearray, Any], None]
_Reader = Callable[[bytes, int], tuple[Any, int]]  # data, offset → value, the offset after it

#: Formats of the types of fixed size, as in struct; each is aligned to its size.
_FIXED: Final = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
PADDING: Final = [bytes(size) for size in range(8)]
_SIGNATURES: Final = 256  # compiled ones that are kept; a stranger may name as many as he likes


def marshal(signature: str, values: Sequence[Any]) -> bytearray:
    """*values*, one for each complete type of *signature*.

    The values are our own: a wrong one raises struct.error or TypeError. Text that D-Bus can't
    carry is replaced, for the bus ends the connection of who sends it.
    """
    out = bytearray()
    for write, value in zip(_writers(signature), values, strict=True):
        write(out, value)
    return out


def writer(type_: str) -> Callable[[bytearray, Any], None]:
    """What appends a value of one complete type to a message; values as for `marshal`."""
    (write,) = _writers(type_)
    return write


def unmarshal(signature: str, data: bytes, *, order: str = "<", at: int = 0) -> list[Any]:
    """The values of *signature* in *data* from *at*, which counts for alignment.

    *order* is the byte order as in struct. Raises ValueError.
    """
    values = []
    try:
        for read in _readers(signature, order):
            value, at = read(data, at)
            values.append(value)
    except (IndexError, struct.error, RecursionError) as error:
        raise ValueError("the values can't be decoded") from error
    return values


def pad(out: bytearray, size: int) -> None:
    """Fill up to a multiple of *size*."""
    out += PADDING[-len(out) & (size - 1)]


def _alignment(token: str) -> int:
    if token in _FIXED:
        return struct.calcsize("<" + _FIXED[token])
    return 8 if token in "({" else 1 if token in "gv" else 4


def _next(signature: str) -> tuple[str, str]:
    """The first complete type and what follows it. Raises ValueError."""
    depth = 0
    for index, token in enumerate(signature):
        depth += (token in "({") - (token in ")}")
        if not depth and token != "a":
            return signature[: index + 1], signature[index + 1 :]
    raise ValueError("a signature that ends too soon")


def _split(signature: str) -> list[str]:
    types = []
    while signature:
        type_, signature = _next(signature)
        types.append(type_)
    return types


# -- out --------------------------------------------------------------------------------------

_LENGTH = struct.Struct("<I")
_pack_length = _LENGTH.pack


@lru_cache(_SIGNATURES)
def _writers(signature: str) -> tuple[_Writer, ...]:
    return tuple(_writer(type_) for type_ in _split(signature))


def _writer(type_: str) -> _Writer:
    token = type_[0]
    if token == "a":
        return _array_writer(type_[1:])
    if token in "({":
        return _struct_writer(_writers(type_[1:-1]))
    if token in _FIXED:
        return _fixed_writer(token)
    return _WRITERS[token]


def _fixed_writer(token: str) -> _Writer:
    pack = struct.Struct("<" + _FIXED[token]).pack
    mask = _alignment(token) - 1

    def write(out: bytearray, value: Any) -> None:
        out += PADDING[-len(out) & mask] + pack(value)

    return write


def _array_writer(element: str) -> _Writer:
    (write_element,) = _writers(element)
    alignment = _alignment(element[0])
    mapping = element[0] == "{"

    def write(out: bytearray, value: Any) -> None:
        pad(out, 4)
        size_at = len(out)
        out += b"\0\0\0\0"
        pad(out, alignment)
        start = len(out)
        for item in value.items() if mapping else value:
            write_element(out, item)
        _LENGTH.pack_into(out, size_at, len(out) - start)

    return write


def _struct_writer(members: tuple[_Writer, ...]) -> _Writer:
    def write(out: bytearray, value: Sequence[Any]) -> None:
        pad(out, 8)
        for member, item in zip(members, value, strict=True):
            member(out, item)

    return write


def _write_boolean(out: bytearray, value: bool) -> None:
    pad(out, 4)
    out += _LENGTH.pack(bool(value))


def _write_string(out: bytearray, value: str) -> None:
    raw = value.encode("utf-8", "replace")
    if 0 in raw:
        raw = raw.replace(b"\0", b"?")
    out += b"%b%b%b\0" % (PADDING[-len(out) & 3], _pack_length(len(raw)), raw)


def _write_signature(out: bytearray, value: str) -> None:
    raw = value.encode("ascii")
    out += bytes((len(raw),)) + raw + b"\0"


def _write_variant(out: bytearray, value: tuple[str, Any]) -> None:
    signature, content = value
    _write_signature(out, signature)
    (write,) = _writers(signature)
    write(out, content)


_WRITERS: Final[dict[str, _Writer]] = {
    "b": _write_boolean,
    "s": _write_string,
    "o": _write_string,
    "g": _write_signature,
    "v": _write_variant,
}


# -- in ---------------------------------------------------------------------------------------


@lru_cache(_SIGNATURES)
def _readers(signature: str, order: str) -> tuple[_Reader, ...]:
    return tuple(_reader(type_, order) for type_ in _split(signature))


def _reader(type_: str, order: str) -> _Reader:
    token = type_[0]
    if token == "a":
        return _array_reader(type_[1:], order)
    if token in "({":
        members = _readers(type_[1:-1], order)
        if not members or token == "{" and (len(members) != 2 or type_[1] in "a({v"):
            raise ValueError("a struct or dictionary entry that is none")
        return _struct_reader(members)
    if token in _FIXED:
        return _fixed_reader(token, order)
    match token:
        case "s" | "o":
            return _string_reader(order)
        case "b":
            return _boolean_reader(order)
        case "g":
            return _read_signature
        case "v":
            return _variant_reader(order)
    raise ValueError("a type that we don't take")


def _fixed_reader(token: str, order: str) -> _Reader:
    unpack_from = struct.Struct(order + _FIXED[token]).unpack_from
    size = _alignment(token)
    mask = size - 1

    def read(data: bytes, at: int) -> tuple[Any, int]:
        at += -at & mask
        return unpack_from(data, at)[0], at + size

    return read


def _array_reader(element: str, order: str) -> _Reader:
    read_size = _fixed_reader("u", order)
    (read_element,) = _readers(element, order)
    mask = _alignment(element[0]) - 1
    make = dict if element[0] == "{" else list

    def read(data: bytes, at: int) -> tuple[Any, int]:
        size, at = read_size(data, at)
        at += -at & mask
        end = at + size
        if end > len(data):
            raise ValueError("an array that ends too soon")
        items = []
        while at < end:
            item, at = read_element(data, at)
            items.append(item)
        if at != end:
            raise ValueError("an array that ends inside an element")
        return make(items), at

    return read


def _struct_reader(members: tuple[_Reader, ...]) -> _Reader:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        at += -at & 7
        values = []
        for member in members:
            value, at = member(data, at)
            values.append(value)
        return tuple(values), at

    return read


def _text(data: bytes, at: int, end: int) -> tuple[str, int]:
    if data[end] != 0:
        raise ValueError("a string without its end")
    return data[at:end].decode("utf-8"), end + 1


def _string_reader(order: str) -> _Reader:
    unpack_from = struct.Struct(order + "I").unpack_from

    def read(data: bytes, at: int) -> tuple[Any, int]:
        at += -at & 3
        (size,) = unpack_from(data, at)
        return _text(data, at + 4, at + 4 + size)

    return read


def _boolean_reader(order: str) -> _Reader:
    read_number = _fixed_reader("u", order)

    def read(data: bytes, at: int) -> tuple[Any, int]:
        value, at = read_number(data, at)
        return value != 0, at

    return read


def _read_signature(data: bytes, at: int) -> tuple[Any, int]:
    return _text(data, at + 1, at + 1 + data[at])


def _variant_reader(order: str) -> _Reader:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        signature, at = _read_signature(data, at)
        readers = _readers(signature, order)
        if len(readers) != 1:
            raise ValueError("a variant of no or several types")
        return readers[0](data, at)

    return read
