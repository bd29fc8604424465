#!/usr/bin/python3
"""What bench/kernel measures, where there is WireGuard in the kernel: as root, in a namespace.

    PYTHONPATH=. unshare --net bench/_kernel.py RUNS

The last line is JSON: the seconds of each case.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from socket import if_nametoindex

from bmx7wg.core.identity import key_text
from bmx7wg.core.keys import generate_private_key
from bmx7wg.core.model import DesiredDevice, DesiredPeer, Endpoint
from bmx7wg.device.base import Device
from bmx7wg.device.choose import open_device

DEVICE = "wgbench"
UNDERLAY = "eth0"
MANY, MORE = 1000, 5000
CHANGED = 0.02  # of the peers, when some are
SETTLE = 0.5  # s, in which the kernel frees the peers that were removed
IDLE, PATIENCE = 0.9, 60  # of the processors for a second, before anything is measured; s to wait

Results = dict[str, list[float]]


def main() -> None:
    for command in (
        f"ip link add {UNDERLAY} type veth peer name other",
        f"ip link set {UNDERLAY} up",
        "ip link set other up",
    ):
        run(command)
    wait_until_idle()
    print(json.dumps(asyncio.run(compare(int(sys.argv[1])))))


def wait_until_idle() -> None:
    """A virtual machine has things to do for a while after its boot."""
    for _ in range(PATIENCE):
        before = processor_times()
        time.sleep(1)
        passed = [now - then for now, then in zip(processor_times(), before)]
        if passed[3] >= IDLE * sum(passed):
            return


def processor_times() -> list[int]:
    """Of all processors, in ticks: user, nice, system, idle, … (proc_stat(5))."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


# -- the device, beside wg and ip ------------------------------------------------------------


async def compare(runs: int) -> Results:
    results: Results = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        device = await open_device("kernel", DEVICE)
        cases = Cases(device, directory, MANY, "1000")
        for turn in range(runs):
            await cases.set(results, turn)
            await cases.same(results)
            await cases.reconcile(results)
            await cases.statistics(results)
        await cases.down(results)
        many = Cases(device, directory, MORE, "5000")
        for turn in range(runs):
            await many.set(results, turn)
        await device.remove()
        await device.close()
    return results


class Cases:
    """Each times one thing both ways; *size* peers, and *label* in the names of the results."""

    def __init__(self, device: Device, directory: Path, size: int, label: str) -> None:
        self.device = device
        self.label = label
        self.size = size
        self.full = desired(size)
        self.empty = replace(self.full, peers={})
        self.other = changed(self.full)
        self.files = {kind: directory / f"{label}-{kind}" for kind in ("full", "other")}
        self.files["full"].write_text(configuration(self.full))
        self.files["other"].write_text(configuration(self.other))

    async def set(self, results: Results, turn: int) -> None:
        """All peers into an empty device; who comes first takes turns."""
        cases: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("wg set", self.tool("setconf", "full")),
            ("set", lambda: self.apply(self.full, self.size)),
        ]
        for name, case in cases if turn % 2 else reversed(cases):
            await self.device.apply(self.empty)
            await asyncio.sleep(SETTLE)
            await self.take(results, name, case)

    async def same(self, results: Results) -> None:
        """Nothing to do, as seen by a service that was here before, and by one that was not."""
        await self.take(results, "first same", lambda: self.apply(self.full, 0))
        await self.take(results, "same", lambda: self.apply(self.full, 0))
        await self.take(results, "wg same", self.tool("syncconf", "full"))

    async def reconcile(self, results: Results) -> None:
        writes = int(self.size * CHANGED)
        await self.device.apply(self.full)
        await self.take(results, "reconcile", lambda: self.apply(self.other, writes))
        for _ in range(2):  # the second reads what the first has written, and finds it right
            await self.device.apply(self.full)
        await self.take(results, "wg reconcile", self.tool("syncconf", "other"))
        for _ in range(2):
            await self.device.apply(self.full)

    async def statistics(self, results: Results) -> None:
        async def ours() -> None:
            assert len(await self.device.statistics()) == self.size

        await self.take(results, "statistics", ours)
        await self.take(results, "wg statistics", lambda: tool(f"wg show {DEVICE} dump"))

    async def down(self, results: Results) -> None:
        """Once: the kernel waits for each peer when the link goes first."""
        await self.take(results, "down", self.device.remove)
        await self.device.apply(self.full)
        await self.take(results, "ip down", lambda: tool(f"ip link delete {DEVICE}"))

    async def apply(self, goal: DesiredDevice, writes: int) -> None:
        applied = await self.device.apply(goal)
        assert applied.writes == writes and not applied.failures, applied

    def tool(self, verb: str, kind: str) -> Callable[[], Awaitable[None]]:
        return lambda: tool(f"wg {verb} {DEVICE} {self.files[kind]}")

    async def take(
        self, results: Results, name: str, call: Callable[[], Awaitable[object]]
    ) -> None:
        begun = time.perf_counter()
        await call()
        taken = time.perf_counter() - begun
        results.setdefault(f"{name} {self.label}", []).append(taken)
        print(f"{name} {self.label}: {taken:.3f} s", flush=True)


async def tool(command: str) -> None:
    run(command)


def run(command: str) -> None:
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)


def desired(size: int) -> DesiredDevice:
    """Peers as they are in a mesh on one link: each has an address, a pair's key, an endpoint."""
    peers: dict[bytes, DesiredPeer] = {}
    for number in range(1, size + 1):
        peer = peer_of(number)
        peers[peer.public_key] = peer
    return DesiredDevice(
        name=DEVICE,
        private_key=generate_private_key(),
        listen_port=6277,
        firewall_mark=0x6277,
        mtu=1420,
        underlay=(),
        addresses=(IPv6Interface("fd77::1:0:0:1/16"),),
        peers=peers,
    )


def peer_of(number: int) -> DesiredPeer:
    public, preshared = (hashlib.sha256(f"{w} {number}".encode()).digest() for w in ("key", "psk"))
    endpoint = Endpoint(
        IPv6Address((0xFE80 << 112) + number), 6277, if_nametoindex(UNDERLAY), UNDERLAY
    )
    return DesiredPeer(public, preshared, endpoint, (IPv6Network((0xFD77 << 112) + number),))


def changed(device: DesiredDevice) -> DesiredDevice:
    """2 % of the operations: a quarter each new, gone, with another endpoint, another key."""
    each = int(len(device.peers) * CHANGED) // 4
    keys = list(device.peers)
    peers = dict(device.peers)
    for key in keys[:each]:
        del peers[key]
    for key in keys[each : 2 * each]:
        peers[key] = replace(peers[key], preshared_key=key)
    for key in keys[2 * each : 3 * each]:
        endpoint = Endpoint(IPv6Address("fe80::b7"), 6278, if_nametoindex(UNDERLAY), UNDERLAY)
        peers[key] = replace(peers[key], endpoint=endpoint)
    for number in range(each):
        peer = peer_of(1_000_000 + number)
        peers[peer.public_key] = peer
    return replace(device, peers=peers)


def configuration(device: DesiredDevice) -> str:
    """The same for wg(8)."""
    lines = [
        "[Interface]",
        f"PrivateKey = {key_text(device.private_key)}",
        f"ListenPort = {device.listen_port}",
        f"FwMark = {device.firewall_mark:#x}",
    ]
    for peer in device.peers.values():
        lines += [
            "[Peer]",
            f"PublicKey = {key_text(peer.public_key)}",
            f"PresharedKey = {key_text(peer.preshared_key)}",
            f"Endpoint = {peer.endpoint}",
            f"AllowedIPs = {', '.join(map(str, peer.allowed_ips))}",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
