"""Our marshalling against the library's, byte for byte; and against whatever bytes there are."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from dbus_next import Message, MessageFlag, MessageType, Variant
from dbus_next._private.marshaller import Marshaller
from hypothesis import given, settings
from hypothesis import strategies as st

from bmx7wg.bus.tree import Tree
from bmx7wg.bus.values import marshal, unmarshal
from bmx7wg.bus.wire import FIXED_HEADER, Flag, Framing, Kind, message, parse_header, sizes

from .samples import node_id, peer

BASIC: dict[str, st.SearchStrategy[Any]] = {
    "y": st.integers(0, 2**8 - 1),
    "b": st.booleans(),
    "n": st.integers(-(2**15), 2**15 - 1),
    "q": st.integers(0, 2**16 - 1),
    "i": st.integers(-(2**31) + 1, 2**31 - 1),
    "u": st.integers(0, 2**32 - 1),
    "x": st.integers(-(2**63) + 1, 2**63 - 1),
    "t": st.integers(0, 2**64 - 1),
    "d": st.floats(allow_nan=False),
    "s": st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")),
    "o": st.just("/org/bmx7/WireGuard1"),
    "g": st.sampled_from(["", "s", "a{sv}", "(st)"]),
}


@st.composite
def types(draw: Any, depth: int = 3) -> str:
    """A complete type without arrays of bytes, which the library takes as bytes only."""
    kind = draw(st.sampled_from("bbbvas({" if depth else "b"))
    if kind == "a":
        return "a" + draw(types(depth=depth - 1).filter(lambda inner: inner != "y"))
    if kind == "{":
        key = draw(st.sampled_from(list(BASIC)))
        return "a{" + key + draw(types(depth=depth - 1)) + "}"
    if kind == "(":
        return "(" + "".join(draw(st.lists(types(depth=depth - 1), min_size=1, max_size=3))) + ")"
    return "v" if kind == "v" else draw(st.sampled_from(list(BASIC)))


def split(inside: str) -> list[str]:
    """The types inside a struct."""
    found, start, depth, array = [], 0, 0, False
    for index, token in enumerate(inside):
        depth += (token in "({") - (token in ")}")
        if not depth and token != "a":
            found.append(inside[start : index + 1])
            start = index + 1
    assert not array
    return found


@st.composite
def values(draw: Any, type_: str) -> tuple[Any, Any, Any]:
    """A value as we take it, as the library takes it, and as we give it back."""
    if type_ == "v":
        inner = draw(types(depth=1))
        ours, theirs, back = draw(values(inner))
        return (inner, ours), Variant(inner, theirs), back
    if type_[0] == "a" and type_[1] == "{":
        key, value = type_[2], type_[3:-1]
        keys = draw(st.lists(BASIC[key], max_size=3, unique=True))
        members = [draw(values(value)) for _ in keys]
        return tuple(dict(zip(keys, column)) for column in zip(*members)) or ({}, {}, {})
    if type_[0] == "a":
        items = draw(st.lists(values(type_[1:]), max_size=3))
        return tuple(list(column) for column in zip(*items)) or ([], [], [])
    if type_[0] == "(":
        items = [draw(values(inner)) for inner in split(type_[1:-1])]
        ours, theirs, back = zip(*items)
        return ours, list(theirs), back
    value = draw(BASIC[type_])
    return value, value, value


@st.composite
def bodies(draw: Any) -> tuple[str, list[Any], list[Any], list[Any]]:
    signature = draw(st.lists(types(), min_size=1, max_size=3))
    triples = [draw(values(type_)) for type_ in signature]
    ours, theirs, back = (list(column) for column in zip(*triples))
    return "".join(signature), ours, theirs, back


@settings(max_examples=500)
@given(bodies())
def test_bytes_are_those_of_the_library(body: tuple[str, list[Any], list[Any], list[Any]]) -> None:
    signature, ours, theirs, back = body
    data = bytes(marshal(signature, ours))
    assert data == bytes(Marshaller(signature, theirs).marshall())
    assert unmarshal(signature, data) == back


@settings(max_examples=200)
@given(bodies(), st.integers(0, 7), st.integers(1, 2**32 - 1))
def test_messages_are_those_of_the_library(
    body: tuple[str, list[Any], list[Any], list[Any]], flags: int, serial: int
) -> None:
    signature, ours, theirs, _ = body
    whole = message(
        Kind.CALL,
        serial,
        marshal(signature, ours),
        flags=flags,
        path="/a/b",
        interface="a.b",
        member="C",
        destination=":1.7",
        signature=signature,
    )
    library = Message(
        message_type=MessageType.METHOD_CALL,
        flags=MessageFlag(flags),
        path="/a/b",
        interface="a.b",
        member="C",
        destination=":1.7",
        signature=signature,
        body=theirs,
        serial=serial,
    )
    assert whole == bytes(library._marshall())
    head, size = sizes(whole[:FIXED_HEADER])
    assert head + size == len(whole)
    header = parse_header(whole[:head])
    assert header is not None
    assert (header.kind, header.serial, header.flags) == (Kind.CALL, serial, Flag(flags))
    assert (header.path, header.interface, header.member) == ("/a/b", "a.b", "C")
    assert (header.destination, header.sender, header.signature) == (":1.7", "", signature)


def test_managed_objects_joined_are_managed_objects_marshalled() -> None:
    from bmx7wg.bus import contract
    from bmx7wg.bus.names import PEER, peer_path

    tree = Tree(contract.load())
    assert tree.managed_body() == bytes(marshal("a{oa{sa{sv}}}", ({},)))
    for number in range(20):
        view = peer(number, name="n" * number, reason="x" * (number % 3))
        tree.put(peer_path(node_id(number)), PEER, view)
    tree.managed_body()
    tree.put(peer_path(node_id(3)), PEER, peer(3, rx_bytes=1))
    tree.remove(peer_path(node_id(5)))
    whole = {path: {PEER: item.variants()} for path, item in tree.managed()}
    assert len(whole) == 19
    assert tree.managed_body() == bytes(marshal("a{oa{sa{sv}}}", (whole,)))


def test_text_that_d_bus_can_not_carry_is_replaced() -> None:
    assert unmarshal("s", bytes(marshal("s", ("a\0b\ud800c",)))) == ["a?b?c"]


def test_the_other_byte_order() -> None:
    data = struct.pack(">I3sxHxxI", 2, b"ab\0", 7, 9)
    assert unmarshal("squ", data, order=">") == ["ab", 7, 9]


@pytest.mark.parametrize(
    ("signature", "data"),
    [
        ("s", b"\x05\0\0\0abc\0"),  # shorter than it says
        ("s", b"\x03\0\0\0abcd"),  # not ended
        ("s", b"\x02\0\0\0\xff\xfe\0"),  # not UTF-8
        ("au", b"\x06\0\0\0" + bytes(8)),  # ends inside an element
        ("au", b"\xff\xff\xff\xff"),
        ("v", b"\x00\0"),  # no type
        ("v", b"\x02ss\0" + bytes(16)),  # two types
        ("v", b"\x01z\0"),  # no such type
        ("v", b"\x01h\0" + bytes(8)),  # descriptors are not taken
        ("v", b"\x02()\0"),
        ("v", b"\x04{vs}\0" + bytes(16)),
        ("v", b"\x01a\0" + bytes(16)),
        ("v", b"\x05a(s}a\0" + bytes(16)),
        ("v", b"\x01v\0" * 5000),  # deep
        ("t", b"1234567"),
    ],
)
def test_what_makes_no_sense_is_a_value_error(signature: str, data: bytes) -> None:
    with pytest.raises(ValueError):
        unmarshal(signature, data)


def test_random_bytes_end_in_values_or_value_error() -> None:
    rng = random.Random(1)
    template = bytes(marshal("a{sv}a(st)v", ({"k": ("as", ["x"])}, [("p", 1)], ("t", 5))))
    refused = 0
    for _ in range(30_000):
        data = bytearray(template)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            unmarshal("a{sv}a(st)v", bytes(data[: rng.randrange(len(data) + 1)]))
        except ValueError:
            refused += 1
    assert 20_000 < refused < 30_000


def test_random_headers_end_in_headers_or_refusal() -> None:
    rng = random.Random(2)
    template = message(
        Kind.SIGNAL, 9, b"", path="/a", interface="a.b", member="C", signature="", sender=":1.2"
    )
    seen = {"header": 0, "refused": 0, "framing": 0}
    for _ in range(30_000):
        data = bytearray(template)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            head, _ = sizes(data[:FIXED_HEADER])
        except Framing:
            seen["framing"] += 1
            continue
        header = parse_header(bytes(data[:head].ljust(min(head, 1000), b"\0")))
        seen["refused" if header is None else "header"] += 1
    assert min(seen.values()) > 1000, seen
