"""The device's MTU beyond the link, and what goes through with it.

    left                    router                   right
    ┌──────────────┐      ┌───────────────┐      ┌──────────────┐
    │       cable ─┼──────┼─ near  beyond ┼──────┼─ far         │
    └──────────────┘      └───────────────┘      └──────────────┘
      2001:db8::1           ::254 in each          2001:db8:1::2
      192.0.2.1              .254                  198.51.100.2
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from ipaddress import ip_address

import pytest

from bmx7wg.core.model import Endpoint
from bmx7wg.device import paths

from .nodes import connected, inside, run

FAR = {6: "2001:db8:1::2", 4: "198.51.100.2"}
SIZE = {"userspace": 100_000_000, "kernel": 25_000_000}  # bytes; the kernel's is emulated


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
            for namespace, interface, last in ((node.name, link, node.number), (name, theirs, 254)):
                ip = ("ip", "-n", namespace)
                run(*ip, "link", "set", "dev", interface, "addrgenmode", "none", "up")
                six, four = (network.format(last) for network in networks)
                run(*ip, "address", "add", six, "dev", interface, "nodad")
                run(*ip, "address", "add", four, "dev", interface)
            for version, network in zip((6, 4), networks):
                gateway = network.format(254).partition("/")[0]
                node.ip(f"-{version}", "route", "add", "default", "via", gateway)
        for version in ("ipv4", "ipv6"):
            switch = f"echo 1 >/proc/sys/net/{version}/conf/all/forwarding"
            run("ip", "netns", "exec", name, "sh", "-c", switch)
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
        expected, got = hashlib.sha256(), hashlib.sha256()
        times = SIZE[backend] // len(data)
        with inside(right.name):
            server = socket.create_server((str(right.address), 7000), family=socket.AF_INET6)
        with inside(left.name):
            client = socket.socket(socket.AF_INET6)
        server.settimeout(60)
        client.settimeout(60)

        def send():
            with client:
                client.connect((str(right.address), 7000))
                for _ in range(times):
                    client.sendall(data)

        sender = threading.Thread(target=send)
        sender.start()
        with server, server.accept()[0] as connection:
            connection.settimeout(60)
            size, buffer = 0, bytearray(1 << 20)
            while count := connection.recv_into(buffer):
                size += count
                got.update(memoryview(buffer)[:count])
        sender.join()
        for _ in range(times):
            expected.update(data)
        assert (size, got.digest()) == (SIZE[backend], expected.digest())

    scene(script)
