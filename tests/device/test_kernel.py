"""What only the kernel's WireGuard can show: thousands of peers, and what goes over netlink."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest

from bmx7wg.core.identity import key_text
from bmx7wg.core.model import DesiredPeer, Endpoint
from bmx7wg.device.base import DeviceError
from bmx7wg.netlink import Netlink

from .nodes import PRESHARED

pytestmark = pytest.mark.parametrize(
    "backend", [pytest.param("kernel", marks=pytest.mark.kernel)], indirect=True
)

WIDE = tuple(IPv6Network((0x20010DB8 << 96 | n << 64, 64)) for n in range(2000))
GENERIC = 16  # NETLINK_GENERIC, linux/netlink.h
CONTROL = 16  # GENL_ID_CTRL, linux/genetlink.h


def member(number, scope_id, **changes):
    key, preshared = (hashlib.sha256(f"{w}{number}".encode()).digest() for w in ("key", "psk"))
    kinds = (
        Endpoint(IPv6Address((0xFE80 << 112) + number), 6277, scope_id, "cable"),
        Endpoint(IPv6Address((0x20010DB8 << 96) + number), 6277),
        None,
    )
    own = (IPv6Network((0xFD77 << 112) + number),)
    return replace(DesiredPeer(key, preshared, kinds[number % 3], own), **changes)


def shown(node):
    """Preshared key, endpoint and sorted allowed IPs of each peer, as `wg` has them."""
    return {
        key: (preshared, endpoint, sorted(networks.split(",")))
        for key, (preshared, endpoint, networks, *_) in node.show()[1].items()
    }


def expected(peers):
    return {
        key_text(peer.public_key): (
            key_text(peer.preshared_key),
            str(peer.endpoint) if peer.endpoint else "(none)",
            sorted(map(str, peer.allowed_ips)),
        )
        for peer in peers
    }


@pytest.fixture
def writes(monkeypatch):
    """What is asked of the kernel from now on that is not a question, as message type and body."""
    seen = []
    request, send = Netlink.request, Netlink._send

    def is_question(netlink, kind, body):
        if netlink._socket.proto == GENERIC:
            return kind == CONTROL or body[0] == 0  # WG_CMD_GET_DEVICE
        return kind % 4 == 2  # RTM_GET…

    def spied_request(self, kind, body, *others):
        if not is_question(self, kind, body):
            seen.append((kind, body))
        return request(self, kind, body, *others)

    def spied_send(self, requests):
        seen.extend((kind, body) for kind, body, _ in requests if not is_question(self, kind, body))
        return send(self, requests)

    monkeypatch.setattr(Netlink, "request", spied_request)
    monkeypatch.setattr(Netlink, "_send", spied_send)
    return seen


def crowd(node, size):
    """So many peers, one of which has more networks than fit into a message."""
    scope = node.index_of("cable")
    peers = [member(n, scope) for n in range(1, size)]
    return [*peers[: size // 2], member(size, scope, allowed_ips=WIDE), *peers[size // 2 :]]


@pytest.mark.parametrize("size", [1000, 5000])
def test_a_crowd_is_written_and_read_whole(nodes, run_async, size):
    left, _ = nodes

    async def script():
        try:
            await left.open()
            peers = crowd(left, size)
            applied = await left.applied(*peers)
            assert len(applied.peers) == len(applied.added) == size and not applied.failures
            assert shown(left) == expected(peers)
            assert (await left.applied(*peers)).writes == 0
            assert len(await left.device.statistics()) == size
        finally:
            await left.gone()

    run_async(script())


@pytest.mark.parametrize("size", [1000, 5000])
def test_half_a_crowd_comes_and_goes(nodes, run_async, size):
    left, _ = nodes

    async def script():
        try:
            await left.open()
            peers = crowd(left, size)
            half = peers[::2]
            await left.applied(*half)
            joined = await left.applied(*peers)
            assert len(joined.added) == joined.writes == size - len(half) and not joined.failures
            assert (await left.device.statistics()).keys() == {p.public_key for p in peers}
            gone = await left.applied(*half)
            assert gone.writes == size - len(half) and not gone.failures
            assert shown(left) == expected(half)
        finally:
            await left.gone()

    run_async(script())


def test_what_is_right_at_the_start_is_not_written(nodes, run_async, writes):
    left, _ = nodes

    async def script():
        try:
            await left.open()
            scope = left.index_of("cable")
            peers = [member(n, scope, keepalive=25 * (n % 2)) for n in range(10, 60)]
            peers[7] = replace(peers[7], allowed_ips=(IPv4Network("10.3.0.0/24"), *WIDE[:300]))
            await left.applied(*peers)
            before = left.show(), left.ip("-d", "address", "show", "dev", left.name)
            await left.device.close()
            assert writes
            writes.clear()

            await left.open()
            await left.device.read()
            applied = await left.applied(*peers)
            assert applied.writes == 0 and writes == []
            assert applied.added == frozenset() and len(applied.peers) == 50
            assert (left.show(), left.ip("-d", "address", "show", "dev", left.name)) == before
        finally:
            await left.gone()

    run_async(script())


def test_only_the_difference_is_written_at_the_start(nodes, run_async, writes):
    left, _ = nodes

    async def script():
        try:
            await left.open()
            scope = left.index_of("cable")
            peers = [member(n, scope) for n in range(10, 60)]
            await left.applied(*peers)
            await left.device.close()

            stranger = key_text(member(99, scope).public_key)
            first, second, third = (key_text(peer.public_key) for peer in peers[:3])
            left.exec("wg", "set", left.name, "peer", first, "remove")
            left.exec("wg", "set", left.name, "peer", second, "persistent-keepalive", "9")
            left.exec("wg", "set", left.name, "peer", third, "allowed-ips", "fd77::9999/128")
            left.exec("wg", "set", left.name, "peer", stranger, "allowed-ips", "fd77::8888/128")
            left.ip("link", "set", "dev", left.name, "mtu", "1300")
            writes.clear()

            await left.open()
            applied = await left.applied(*peers)
            assert applied.added == {peers[0].public_key} and not applied.failures
            # the first, the second's keepalive, the third's address given and the other taken,
            # the stranger; all of it in one message, beside the MTU
            assert applied.writes == 6
            assert len(writes) == 2
            assert shown(left) == expected(peers)
            assert left.link()["mtu"] == 1420
        finally:
            await left.gone()

    run_async(script())


def test_somebody_elses_wireguard_is_left_alone(nodes, run_async, writes):
    left, _ = nodes

    async def script():
        left.ip("link", "add", left.name, "type", "wireguard")
        other = key_text(member(5, 0).public_key)
        left.exec("wg", "set", left.name, "listen-port", "7000", "peer", other)
        before = left.show(), left.link()
        for backend in ("auto", "kernel"):
            with pytest.raises(DeviceError, match="wireguard.*somebody else.*ip link delete"):
                await left.open(backend=backend)
        assert writes == []
        assert (left.show(), left.link()) == before

    run_async(script())


def test_a_preshared_key_is_taken_away(nodes, run_async):
    left, _ = nodes

    async def script():
        try:
            await left.open()
            await left.applied(member(1, 0, preshared_key=PRESHARED))
            await left.applied(member(1, 0, preshared_key=bytes(32)))
            ((preshared, *_),) = left.show()[1].values()
            assert preshared == "(none)"
        finally:
            await left.gone()

    run_async(script())
