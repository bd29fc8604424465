"""WireGuard's netlink messages: against bytes written out by hand, and against each other."""

from __future__ import annotations

import json
import struct
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmx7wg.core.model import Endpoint
from bmx7wg.core.operations import SetDevice
from bmx7wg.core.planpeers import RemovePeer, SetPeer
from bmx7wg.device import wgdump, wgnetlink
from bmx7wg.netlink import attributes

from ..conftest import VECTORS

ONE, TWO, SHARED = b"1" * 32, b"2" * 32, b"S" * 32


def attribute(kind, value):
    """linux/netlink.h: length and type in host order, the value padded to four bytes."""
    padding = bytes(-len(value) % 4)
    order = "little" if sys.byteorder == "little" else "big"
    head = (4 + len(value)).to_bytes(2, order) + kind.to_bytes(2, order)
    return head + value + padding


def nest(kind, *inner):
    return attribute(kind | 0x8000, b"".join(inner))


def u16(value):
    return value.to_bytes(2, sys.byteorder)


def u32(value):
    return value.to_bytes(4, sys.byteorder)


SET = bytes([1, 1, 0, 0]) + attribute(1, u32(9))  # SET_DEVICE, version 1, IFINDEX 9
GET = bytes([0, 1, 0, 0]) + attribute(1, u32(9))

ALLOWED_6 = nest(
    0,
    attribute(1, u16(10)),
    attribute(2, bytes.fromhex("fd77" + "00" * 13 + "02")),
    attribute(3, bytes([128])),
)
ALLOWED_4 = nest(0, attribute(1, u16(2)), attribute(2, bytes([10, 3, 0, 0])), attribute(3, b"\x18"))
LOCAL = u16(10) + bytes.fromhex("1885 00000000 fe80" + "00" * 13 + "02") + u32(3)


def bodies(*operations):
    return [message.body for message in wgnetlink.encode_peers(9, operations)]


def test_device():
    assert wgnetlink.encode_get(9) == GET
    whole = SetDevice(private_key=ONE, listen_port=6277, firewall_mark=0x6277)
    assert wgnetlink.encode_device(9, whole) == SET + attribute(3, ONE) + attribute(
        6, u16(6277)
    ) + attribute(7, u32(0x6277))
    assert wgnetlink.encode_device(9, SetDevice(listen_port=0)) == SET + attribute(6, u16(0))
    assert wgnetlink.encode_remove_peers(9) == SET + attribute(5, u32(1))


def test_a_new_peer():
    peer = SetPeer(
        public_key=ONE,
        new=True,
        preshared_key=SHARED,
        endpoint=Endpoint(IPv6Address("fe80::2"), 6277, 3, "eth0"),
        keepalive=25,
        allowed_ips=(IPv4Network("10.3.0.0/24"), IPv6Network("fd77::2")),
    )
    expected = nest(
        0,
        attribute(1, ONE),
        attribute(2, SHARED),
        attribute(4, LOCAL),
        attribute(5, u16(25)),
        nest(9, ALLOWED_4, ALLOWED_6),
    )
    assert bodies(peer) == [SET + nest(8, expected)]


def test_a_change_does_not_touch_the_allowed_ips_nor_make_the_peer():
    change = SetPeer(public_key=ONE, endpoint=Endpoint(IPv4Address("192.0.2.2"), 6277))
    address = u16(2) + bytes.fromhex("1885 c0000202") + bytes(8)
    update_only = attribute(3, u32(4))
    assert bodies(change) == [
        SET + nest(8, nest(0, attribute(1, ONE), update_only, attribute(4, address)))
    ]


def test_allowed_ips_are_replaced_only_on_demand():
    only = SetPeer(public_key=ONE, allowed_ips=(IPv6Network("fd77::2"),), only_these=True)
    none = SetPeer(public_key=TWO, only_these=True)
    assert bodies(only, none) == [
        SET
        + nest(
            8,
            nest(0, attribute(1, ONE), attribute(3, u32(6)), nest(9, ALLOWED_6)),
            nest(0, attribute(1, TWO), attribute(3, u32(6))),
        )
    ]


def test_a_key_is_replaced_within_one_message():
    new = SetPeer(public_key=TWO, new=True, replaces=ONE)
    assert bodies(new, RemovePeer(SHARED)) == [
        SET
        + nest(
            8,
            nest(0, attribute(1, TWO)),
            nest(0, attribute(1, ONE), attribute(3, u32(1))),
            nest(0, attribute(1, SHARED), attribute(3, u32(1))),
        )
    ]


def peers_in(body):
    return [dict(attributes(n)) for k, v in attributes(body, 4) if k == 8 for _, n in attributes(v)]


def test_a_long_list_goes_on_in_the_next_message():
    networks = tuple(IPv6Network((n << 64, 64)) for n in range(1000))
    new = SetPeer(public_key=TWO, new=True, replaces=ONE, keepalive=25, allowed_ips=networks)
    messages = list(wgnetlink.encode_peers(9, [new]))
    assert len(messages) > 4
    assert all(16 + len(m.body) <= wgnetlink.MESSAGE_SIZE for m in messages)
    assert all(m.operations == (new,) for m in messages)
    peers = [peer for m in messages for peer in peers_in(m.body)]
    assert [peer[1] for peer in peers] == [TWO] * len(messages) + [ONE], "removed at the end"
    assert [peer.get(3) for peer in peers[:-1]] == [None] + [u32(4)] * (len(messages) - 1)
    assert sum(len(list(attributes(peer.get(9, b"")))) for peer in peers) == 1000


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=60))
def test_messages_are_bounded_and_keep_the_order(shape):
    operations = [
        SetPeer(
            public_key=n.to_bytes(32, "big"),
            new=new,
            replaces=ONE if new else None,
            preshared_key=SHARED,
            endpoint=Endpoint(IPv6Address("2001:db8::1"), 1),
            allowed_ips=tuple(IPv6Network(i) for i in range(count)),
        )
        for n, (new, count) in enumerate(shape)
    ]
    messages = list(wgnetlink.encode_peers(9, operations))
    seen = []
    for message in messages:
        assert 16 + len(message.body) <= wgnetlink.MESSAGE_SIZE
        seen += [o for o in message.operations if not seen or seen[-1] is not o]
    assert seen == operations
    sent = [peer for m in messages for peer in peers_in(m.body)]
    for operation, (_, count) in zip(operations, shape):
        own = [peer for peer in sent if peer[1] == operation.public_key]
        assert sum(len(list(attributes(peer.get(9, b"")))) for peer in own) == count


# -- dumps -----------------------------------------------------------------------------------


def dumped_peer(key, **more):
    values = {
        1: key,
        2: SHARED,
        4: LOCAL,
        5: u16(25),
        6: struct.pack("=qq", 1700000000, 5),
        7: struct.pack("=Q", 2**40),
        8: struct.pack("=Q", 77),
        10: u32(1),
    }
    return nest(0, *(attribute(k, v) for k, v in values.items()), nest(9, *more.get("allowed", ())))


HEAD = bytes([0, 1, 0, 0])


def test_a_dump():
    body = HEAD + b"".join(
        (
            attribute(6, u16(6277)),
            attribute(7, u32(0x6277)),
            attribute(1, u32(9)),
            attribute(2, b"wgBmx7\0"),
            attribute(3, ONE),
            attribute(4, TWO),
            nest(8, dumped_peer(TWO, allowed=(ALLOWED_4, ALLOWED_6))),
        )
    )
    device = wgdump.Reader().device([body])
    assert (device.private_key, device.listen_port, device.firewall_mark) == (ONE, 6277, 0x6277)
    (peer,) = device.peers.values()
    assert peer.public_key == TWO and peer.preshared_key == SHARED
    assert peer.endpoint == Endpoint(IPv6Address("fe80::2"), 6277, 3)
    assert peer.allowed_ips == (IPv4Network("10.3.0.0/24"), IPv6Network("fd77::2"))
    assert peer.keepalive == 25 and peer.last_handshake == 1700000000 * 10**9 + 5
    assert (peer.rx_bytes, peer.tx_bytes) == (2**40, 77)


def test_a_peer_that_goes_on_in_the_next_messages_is_one():
    more = nest(0, attribute(1, TWO), nest(9, ALLOWED_6))
    dump = [
        HEAD + attribute(3, ONE) + nest(8, dumped_peer(ONE), dumped_peer(TWO, allowed=[ALLOWED_4])),
        HEAD + attribute(2, b"wgBmx7\0") + nest(8, more),
        HEAD + attribute(2, b"wgBmx7\0") + nest(8, more, dumped_peer(SHARED)),
    ]
    device = wgdump.Reader().device(dump)
    assert list(device.peers) == [ONE, TWO, SHARED]
    six = IPv6Network("fd77::2")
    assert device.peers[TWO].allowed_ips == (IPv4Network("10.3.0.0/24"), six, six)
    assert device.peers[TWO].rx_bytes == 2**40
    assert device.peers[TWO].last_handshake == 1700000000 * 10**9 + 5


def test_a_peer_without_session_or_endpoint():
    bare = nest(0, attribute(1, ONE), attribute(2, bytes(32)), attribute(6, bytes(16)), nest(9))
    (peer,) = wgdump.Reader().device([HEAD + nest(8, bare)]).peers.values()
    assert peer.endpoint is None and peer.last_handshake == 0 and peer.allowed_ips == ()


# -- what wg and the kernel say to each other, traced ------------------------------------------

TRACED = json.loads((VECTORS / "wireguard-netlink.json").read_text())
little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="traced on little endian")

OURS = [
    SetDevice(private_key=bytes(range(32)), listen_port=6277, firewall_mark=0x6277),
    SetPeer(
        public_key=ONE,
        new=True,
        preshared_key=SHARED,
        endpoint=Endpoint(IPv6Address("fe80::2"), 6277, 1, "lo"),
        keepalive=25,
        allowed_ips=(IPv4Network("10.3.0.0/24"), IPv6Network("fd77::2")),
        only_these=True,
    ),
    SetPeer(
        public_key=TWO,
        new=True,
        endpoint=Endpoint(IPv4Address("192.0.2.2"), 6277),
        allowed_ips=(IPv6Network("fd77::3"),),
        only_these=True,
    ),
    RemovePeer(TWO),
]


def allowed_ips(value):
    return [dict(attributes(nested)) for _, nested in attributes(value)]


def readable(kind, value):
    """A device's attribute with what is nested in it; their order means nothing."""
    if kind != 8:
        return value
    peers = [dict(attributes(nested)) for _, nested in attributes(value)]
    return [{k: allowed_ips(v) if k == 9 else v for k, v in peer.items()} for peer in peers]


@little_endian
@pytest.mark.parametrize("number", range(4))
def test_we_say_what_wg_says(number):
    ours, theirs = OURS[number], TRACED["sent"][number]["attributes"]
    device = isinstance(ours, SetDevice)
    (body,) = [wgnetlink.encode_device(9, ours)] if device else bodies(ours)
    said = {k: readable(k, v) for k, v in attributes(body, 4) if k != 1}
    assert said == {int(k): readable(int(k), bytes.fromhex(v)) for k, v in theirs.items()}


@little_endian
def test_we_read_what_the_kernel_says():
    device = wgdump.Reader().device([bytes.fromhex(TRACED["dump"])])
    assert device.private_key == bytes(range(31)) + b"\x5f", "clamped"
    assert (device.listen_port, device.firewall_mark) == (6277, 0x6277)
    (peer,) = device.peers.values()
    assert (peer.public_key, peer.preshared_key, peer.keepalive) == (ONE, SHARED, 25)
    assert peer.endpoint == OURS[1].endpoint
    assert set(peer.allowed_ips) == set(OURS[1].allowed_ips)
    assert (peer.last_handshake, peer.rx_bytes, peer.tx_bytes) == (0, 0, 0)
