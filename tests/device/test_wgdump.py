"""Dumps of a WireGuard device: one that Linux gave, and the same cut and arranged otherwise."""

from __future__ import annotations

import json
import sys
from ipaddress import ip_address, ip_network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmx7wg.core.identity import parse_key
from bmx7wg.core.model import ActualPeer, Endpoint
from bmx7wg.device import wgdump
from bmx7wg.device.wgdump import Reader
from bmx7wg.netlink import attributes

from ..conftest import VECTORS
from .test_wgnetlink import attribute, nest

RECORDED = json.loads((VECTORS / "wireguard-dump.json").read_text())
MESSAGES = [bytes.fromhex(message) for message in RECORDED["messages"]]
HEAD = MESSAGES[0][:4]

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="recorded on little endian")


def shown_peer(line):
    """A line of `wg show … dump` as the peer that it tells of."""
    key, preshared, endpoint, networks, handshake, received, sent, keepalive = line.split("\t")
    where = None
    if endpoint != "(none)":
        address, _, port = endpoint.rpartition(":")
        address, _, zone = address.strip("[]").partition("%")
        where = Endpoint(ip_address(address), int(port), RECORDED["index"] if zone else 0, zone)
    return ActualPeer(
        public_key=parse_key(key),
        preshared_key=bytes(32) if preshared == "(none)" else parse_key(preshared),
        endpoint=where,
        allowed_ips=tuple(ip_network(n) for n in networks.split(",") if n != "(none)"),
        keepalive=0 if keepalive == "off" else int(keepalive),
        last_handshake=int(handshake),
        rx_bytes=int(received),
        tx_bytes=int(sent),
    )


SHOWN = [shown_peer(line) for line in RECORDED["shown"][1:]]


def peers_of(messages):
    """The nested peers in their order, those that go on in another message as often as they do."""
    return [
        value
        for message in messages
        for kind, nested in attributes(message, 4)
        if kind == 8
        for _, value in attributes(nested)
    ]


def test_what_linux_says_is_what_wg_shows():
    continued = [value for value in peers_of(MESSAGES) if 2 not in dict(attributes(value))]
    assert continued, "a list of allowed IPs goes on in another message"
    device = Reader().device(MESSAGES)
    assert list(device.peers.values()) == SHOWN
    assert (device.listen_port, device.firewall_mark) == (6277, 0x6277)


def test_linux_peers_are_read_at_once(monkeypatch):
    one_by_one, read = [], wgdump._unusual
    monkeypatch.setattr(wgdump, "_unusual", lambda value: one_by_one.append(value) or read(value))
    Reader().device(MESSAGES)
    assert all(2 not in dict(attributes(value)) for value in one_by_one), "but for what goes on"


def test_the_order_of_attributes_means_nothing():
    turned = [
        nest(0, *(attribute(k | (0x8000 if k == 9 else 0), v) for k, v in reversed(parts)))
        for parts in (list(attributes(value)) for value in peers_of(MESSAGES))
    ]
    assert list(Reader().device([HEAD + nest(8, *turned)]).peers.values()) == SHOWN


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_a_dump_may_be_cut_anywhere(seed):
    """At any peer, and within a peer's allowed IPs."""
    messages, nested, rng = [], [], Random(seed)

    def cut():
        if rng.random() < 0.2:
            messages.append(HEAD + nest(8, *nested))
            nested.clear()
            return True
        return False

    for value in peers_of(MESSAGES):
        parts = dict(attributes(value))
        networks = [nest(0, n) for _, n in attributes(parts.pop(9, b""))]
        first = [attribute(kind, part) for kind, part in parts.items()]
        while True:
            take = rng.randint(0, len(networks))
            nested.append(nest(0, *first, nest(9, *networks[:take])))
            networks, first = networks[take:], [attribute(1, parts[1])]
            while networks and not cut():
                pass
            if not networks:
                break
        cut()
    messages.append(HEAD + nest(8, *nested))
    reader = Reader()
    for _ in range(2):
        assert list(reader.device(messages).peers.values()) == SHOWN


def test_only_what_changed_is_decoded_again():
    reader = Reader()
    before = reader.device(MESSAGES).peers
    again = reader.device([bytes(bytearray(message)) for message in MESSAGES]).peers
    whole = [key for key, peer in before.items() if len(peer.allowed_ips) < 10]
    assert all(again[key] is before[key] for key in whole)

    changed = bytearray(MESSAGES[0])
    position = changed.index(SHOWN[0].public_key) + 32 + 36 + 20 + 8 + 4  # its sent bytes
    changed[position] += 1
    after = reader.device([bytes(changed), *MESSAGES[1:]]).peers
    first = SHOWN[0].public_key
    assert after[first].tx_bytes == before[first].tx_bytes + 1
    last = SHOWN[-1].public_key
    assert after[last] is before[last]


def test_a_device_of_five_thousand_peers_is_read_whole():
    value = peers_of(MESSAGES)[0]
    own = SHOWN[0].public_key
    keys = [number.to_bytes(32, "big") for number in range(1, 5001)]
    messages = [
        HEAD + nest(8, *(nest(0, value.replace(own, key)) for key in keys[start : start + 13]))
        for start in range(0, len(keys), 13)
    ]
    assert list(Reader().device(messages).peers) == keys
