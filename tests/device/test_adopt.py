"""A device that is there at the start: what is right stays, only the rest is changed."""

from __future__ import annotations

import pytest

from bmx7wg.core.identity import key_text
from bmx7wg.device import uapi
from bmx7wg.netlink import Netlink
from bmx7wg.rtnetlink import Rtnetlink

from .nodes import connected

#: What somebody did to the device $D and its peer $K while nobody looked, and what is done then.
DIFFERENCES = {
    "a peer less": ("wg set $D peer $K remove", "add peer $K: preshared key, endpoint"),
    "a peer more": ("wg set $D peer $O allowed-ips fd77::77/128", "remove peer $O"),
    "preshared key": ("wg genpsk | wg set $D peer $K preshared-key /dev/stdin", "preshared key"),
    "private key": ("wg genkey | wg set $D private-key /dev/stdin", "set private key"),
    "port": ("wg set $D listen-port 7000", "set listen port 6277"),
    "mark": ("wg set $D fwmark 1", "set firewall mark 0x6277"),
    "endpoint": ("wg set $D peer $K endpoint 192.0.2.9:9", "$K: endpoint [2001:db8::2]:6277"),
    "keepalive": ("wg set $D peer $K persistent-keepalive 99", "$K: keepalive 0"),
    "a network more": (
        "wg set $D peer $K allowed-ips fd77::2/128,10.9.0.0/16",
        "$K: allow only fd77::2/128",
    ),
    "a network less": ("wg set $D peer $K allowed-ips ''", "$K: allow fd77::2/128"),
    "down": ("ip link set $D down", "set up; add address fd77::1/16"),
    "mtu": ("ip link set $D mtu 1300", "set mtu 1420"),
    "an address less": ("ip address delete fd77::1/16 dev $D", "add address fd77::1/16"),
    "an address more": (
        "ip address add fd77::99/16 dev $D nodad",
        "remove address fd77::99/16",
    ),
    "route": ("ip route delete fd77::/16 dev $D", "route fd77::/16"),
    "address mode": ("ip link set $D addrgenmode eui64", "mark as ours"),
}
OTHER = key_text(b"O" * 31 + b"\0")


@pytest.fixture
def writes(monkeypatch):
    """All that is sent to change something, over whichever socket."""
    sent = []
    uapi_set, request, batch = uapi.Connection.set, Netlink.request, Netlink.batch

    def changes(socket, kind, body):
        # rtnetlink: new, delete, get, set; of WireGuard's two commands the second one sets
        return kind % 4 != 2 if isinstance(socket, Rtnetlink) else kind != 16 and body[0] == 1

    def noted_set(self, lines):
        sent.append(lines)
        return uapi_set(self, lines)

    def noted_request(self, kind, body, *others):
        sent.extend([(kind, body)] if changes(self, kind, body) else [])
        return request(self, kind, body, *others)

    def noted_batch(self, requests):
        sent.extend(one for one in requests if changes(self, one.kind, one.body))
        return batch(self, requests)

    monkeypatch.setattr(uapi.Connection, "set", noted_set)
    monkeypatch.setattr(Netlink, "request", noted_request)
    monkeypatch.setattr(Netlink, "batch", noted_batch)
    return sent


async def reopened(node, script=""):
    """Its device is left by one service and found by the next."""
    await node.device.close()
    node.exec("sh", "-ec", script)
    await node.open()


@pytest.mark.parametrize("kind", ["global", "ipv4", "link-local"])
def test_what_is_right_is_left_alone(scene, writes, kind):
    async def script(left, right):
        peer = right.as_peer(right.endpoint(kind, left))
        await left.open()
        await right.open()
        await connected(left, right, kind)
        assert writes
        await reopened(left)
        writes.clear()
        applied = await left.applied(peer)
        assert applied.writes == 0 and writes == []
        assert (await left.applied(peer)).writes == 0 and writes == []

    scene(script)


@pytest.mark.parametrize("what", DIFFERENCES)
def test_only_the_difference_is_written(scene, writes, what):
    async def script(left, right):
        def filled(text):
            key = key_text(right.key)
            return text.replace("$D", left.name).replace("$K", key).replace("$O", OTHER)

        peer = right.as_peer(right.endpoint("global", left))
        await left.open()
        await left.applied(peer)
        command, expected = map(filled, DIFFERENCES[what])
        await reopened(left, command)
        writes.clear()
        applied = await left.applied(peer)
        assert expected in "; ".join(applied.done) and applied.failures == ()
        assert applied.writes == 1 + (what == "down")
        assert len(writes) <= applied.writes + (what == "down")
        await reopened(left)
        writes.clear()
        assert (await left.applied(peer)).writes == 0 and writes == []

    scene(script)
