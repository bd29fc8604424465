"""Two network namespaces on one cable, and a device in each.

    left                        right
    ┌───────────────┐           ┌───────────────┐
    │  device l<id> │           │  device r<id> │
    │  fd77::1/16   │           │  fd77::2/16   │
    │        cable ─┼───────────┼─ cable        │
    └───────────────┘           └───────────────┘
      2001:db8::1                 2001:db8::2
      fe80::1, 192.0.2.1          fe80::2, 192.0.2.2
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
import time
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Interface, IPv6Network, ip_address

from bmx7wg.core.keys import generate_private_key, public_key
from bmx7wg.core.model import DesiredDevice, DesiredPeer, Endpoint
from bmx7wg.device.choose import open_device

DEADLINE = 10.0  # s; all of it takes far less, the machine may be busy
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PRESHARED = b"P" * 32


def run(*command, check=True, text=None):
    """Run a command with this text as its input, return what it printed."""
    result = subprocess.run(command, input=text, capture_output=True, text=True)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(command)}: {result.stderr}{result.stdout}")
    return result.stdout


def ip_batch(*lines, namespace=None, check=True):
    """All in one process: in the emulated machine each costs a tenth of a second."""
    where = () if namespace is None else ("-n", namespace)
    run("ip", *where, "-force", "-batch", "-", text="\n".join(lines), check=check)


@contextlib.contextmanager
def inside(namespace):
    """This thread is in another namespace; threads, processes and sockets made now stay there."""
    with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{namespace}") as there:
        assert LIBC.setns(there.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert LIBC.setns(before.fileno(), CLONE_NEWNET) == 0


@dataclass
class Node:
    """A namespace with one device of the same name; *sentences* is what its watch said."""

    name: str
    number: int
    backend: str
    private: bytes = field(default_factory=generate_private_key)
    sentences: list[str] = field(default_factory=list)
    device: object = None

    @property
    def key(self):
        return public_key(self.private)

    @property
    def address(self):
        return IPv6Address((0xFD77 << 112) + self.number)

    def ip(self, *arguments, check=True):
        return run("ip", "-n", self.name, *arguments, check=check)

    def ip_batch(self, *lines):
        ip_batch(*lines, namespace=self.name)

    def exec(self, *command, check=True):
        return run("ip", "netns", "exec", self.name, *command, check=check)

    def show(self):
        """What `wg show` says, an independent witness: of the device, of the peers by key."""
        lines = [
            line.split("\t") for line in self.exec("wg", "show", self.name, "dump").splitlines()
        ]
        return lines[0], {fields[0]: fields[1:] for fields in lines[1:]}

    def addresses(self, interface):
        shown = json.loads(self.ip("-j", "-6", "address", "show", "dev", interface))
        return [found for link in shown for found in link["addr_info"]]

    def process_ids(self):
        """The processes in the namespace: wireguard-go."""
        return [int(pid) for pid in run("ip", "netns", "pids", self.name).split()]

    def link(self):
        return json.loads(self.ip("-d", "-j", "link", "show", "dev", self.name))[0]

    def index_of(self, interface):
        return json.loads(self.ip("-j", "link", "show", "dev", interface))[0]["ifindex"]

    async def open(self, *, backend=None, watch=True):
        with inside(self.name):
            self.device = await open_device(backend or self.backend, self.name)
            if watch:
                self.device.watch(self.sentences.append)
        return self.device

    async def applied(self, *peers, **changes):
        return await self.device.apply(self.wanted(*peers, **changes))

    async def gone(self):
        if self.device is not None:
            await self.device.remove()
            await self.device.close()
            self.device = None

    def wanted(self, *peers, **changes):
        usual = DesiredDevice(
            name=self.name,
            private_key=self.private,
            listen_port=6277,
            firewall_mark=0x6277,
            mtu=0,
            underlay=("cable",),
            addresses=(IPv6Interface(f"{self.address}/16"),),
            peers={peer.public_key: peer for peer in peers},
        )
        return replace(usual, **changes)

    def as_peer(self, endpoint, **changes):
        """This node, as another one has it."""
        usual = DesiredPeer(self.key, PRESHARED, endpoint, (IPv6Network(self.address),))
        return replace(usual, **changes)

    def endpoint(self, kind, seen_from):
        if kind == "link-local":
            local = ip_address(f"fe80::{self.number}")
            return Endpoint(local, 6277, seen_from.index_of("cable"), "cable")
        text = {"global": "2001:db8::{}", "ipv4": "192.0.2.{}"}[kind].format(self.number)
        return Endpoint(ip_address(text), 6277)

    def pings(self, other, count=1, wait="5"):
        """Whether the other's mesh address answers."""
        command = ("ping", "-6", "-n", "-c", str(count), "-W", wait, str(other.address))
        return " 0% packet loss" in self.exec(*command, check=False)


def plug_in(left, right, *options):
    """Join two nodes with a cable, addresses on it."""
    left.ip(
        *("link", "add", "cable", *options, "type", "veth"),
        *("peer", "name", "cable", "netns", right.name),
    )
    for node in (left, right):
        node.ip_batch(
            "link set lo up",
            "link set cable addrgenmode none up",
            f"address add 2001:db8::{node.number}/64 dev cable nodad",
            f"address add fe80::{node.number}/64 dev cable nodad",
            f"address add 192.0.2.{node.number}/24 dev cable",
        )


async def until(condition, what, deadline=DEADLINE):
    """Wait for a condition of another process, looking every few ms, at most *deadline* s."""
    async with asyncio.timeout(deadline):
        while not (found := condition()):
            await asyncio.sleep(0.005)
    assert found, what
    return found


async def connected(left, right, kind="global"):
    """Both devices know each other, and a ping went through."""
    await left.applied(right.as_peer(right.endpoint(kind, left)))
    await right.applied(left.as_peer(left.endpoint(kind, right)))
    await probed(right, left)
    assert left.pings(right)


async def probed(one, other):
    """One end begins the handshake. If both did at the same moment, both would wait 5 s."""
    before = time.time_ns()
    one.device.probe(other.address)
    async with asyncio.timeout(DEADLINE):
        while (await one.device.statistics())[other.key].last_handshake < before:
            await asyncio.sleep(0.005)


def kernel_has_wireguard():
    name = f"wg{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        command = ("ip", "-n", name, "link", "add", "x", "type", "wireguard")
        return subprocess.run(command, capture_output=True).returncode == 0
    finally:
        run("ip", "netns", "delete", name)
