"""The device's MTU beyond the link, and what goes through with it.

    left                    router                   right
    ┌──────────────┐      ┌───────────────┐      ┌──────────────┐
    │       cable ─┼──────┼─ near  beyond ┼──────┼─ far         │
    └──────────────┘      └───────────────┘      └──────────────┘
      2001:db8::1           ::254 in each          2001:db8:1::2
      192.0.2.1              .254                  198.51.100.2
"""

from __future__ import annotations

import os
import socket
import threading
from ipaddress import ip_address

import pytest

from bmx7wg.core.model import Endpoint
from bmx7wg.device import paths

from .nodes import connected, inside, ip_batch, run

FAR = {6: "2001:db8:1::2", 4: "198.51.100.2"}
MEGABYTES = 100


@pytest.fixture
def router(nodes):
    """Joins the nodes, the right one by a second link."""
    left, right = nodes
    left.ip("link", "delete", "cable")
    name = f"{left.name}r"
    run("ip", "netns", "add", name)
    try:
        for node, link, theirs, networks in (
            (left, "cable", "near", ("2001:db8::{}/64", "192.0.2.{}/24")),
            (right, "far", "beyond", ("2001:db8:1::{}/64", "198.51.100.{}/24")),
        ):
            node.ip("link", "add", link, "type", "veth", "peer", theirs, "netns", name)
            gateways = [network.format(254).partition("/")[0] for network in networks]
            for namespace, interface, last in ((name, theirs, 254), (node.name, link, node.number)):
                six, four = (network.format(last) for network in networks)
                lines = [
                    f"link set dev {interface} addrgenmode none up",
                    f"address add {six} dev {interface} nodad",
                    f"address add {four} dev {interface}",
                ]
                if namespace == node.name:
                    lines += [f"route add default via {gateway}" for gateway in gateways]
                ip_batch(*lines, namespace=namespace)
        switches = "/proc/sys/net/ipv4/conf/all/forwarding /proc/sys/net/ipv6/conf/all/forwarding"
        script = f"for switch in {switches}; do echo 1 >$switch; done"
        run("ip", "netns", "exec", name, "sh", "-ec", script)
        yield name
    finally:
        run("ip", "netns", "delete", name)


def beyond(version):
    return Endpoint(ip_address(FAR[version]), 6277)


@pytest.mark.parametrize("version", [4, 6])
def test_a_routes_own_mtu_counts(scene, router, version):
    async def script(left, right):
        peer = right.as_peer(beyond(version))
        await left.open()
        assert (await left.applied(peer)).mtu == 1420
        await left.device.close()  # it asks anew
        await left.open()
        gateway = {4: "192.0.2.254", 6: "2001:db8::254"}[version]
        arguments = ("route", "add", f"{FAR[version]}", "via", gateway, "mtu", "1400")
        left.ip(f"-{version}", *arguments)
        assert (await left.applied(peer)).mtu == left.link()["mtu"] == 1320
        assert (await left.applied(peer)).writes == 0
        assert (await left.applied()).mtu == 1420, "nobody is there any more"
        assert (await left.applied(peer, mtu=1300)).mtu == 1300, "the administrator's word"

    scene(script)


@pytest.mark.parametrize("version", [4, 6])
def test_what_a_router_says_counts_and_stays(scene, router, version, monkeypatch):
    monkeypatch.setattr(paths, "_FRESH", 0.0)

    async def script(left, right):
        run("ip", "-n", router, "link", "set", "beyond", "mtu", "1350")
        right.ip("link", "set", "far", "mtu", "1350")
        peer = right.as_peer(beyond(version))
        await left.open()
        assert (await left.applied(peer)).mtu == 1420
        left.exec("ping", "-n", "-c", "1", "-W", "1", "-s", "1440", FAR[version], check=False)
        assert (await left.applied(peer)).mtu == left.link()["mtu"] == 1280, "never less"
        left.ip(f"-{version}", "route", "flush", "cache")
        assert (await left.applied(peer)).writes == 0

    scene(script)


def test_a_path_through_the_device_itself_is_none(scene):
    async def script(left, right):
        await left.open()
        peer = right.as_peer(Endpoint(ip_address("fd77::99"), 6277))
        assert (await left.applied(peer)).mtu == 1420
        assert (await left.applied(peer)).writes == 0

    scene(script)


@pytest.mark.slow
@pytest.mark.parametrize("mtu", [1280, 1400, 1500, 9000])
def test_a_long_transfer_arrives_whole(scene, backend, mtu):
    """At 1280 the tunnel's packets are longer than the link's: they travel in fragments."""

    async def script(left, right):
        for node in (left, right):
            node.ip("link", "set", "cable", "mtu", str(mtu))
        await left.open()
        await right.open()
        await connected(left, right)
        assert left.link()["mtu"] == max(1280, mtu - 80)
        data = os.urandom(1_000_000)
        with inside(right.name):
            server = socket.create_server((str(right.address), 7000), family=socket.AF_INET6)
        with inside(left.name):
            client = socket.socket(socket.AF_INET6)
        server.settimeout(60)
        client.settimeout(60)

        def send():
            with client:
                client.connect((str(right.address), 7000))
                for _ in range(MEGABYTES):
                    client.sendall(data)

        sender = threading.Thread(target=send)
        sender.start()
        got = bytearray(len(data))
        with server, server.accept()[0] as connection, connection.makefile("rb") as stream:
            connection.settimeout(60)
            for _ in range(MEGABYTES):
                assert stream.readinto(got) == len(data) and got == data
            assert stream.read() == b""
        sender.join()

    scene(script)
