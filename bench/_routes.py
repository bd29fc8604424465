#!/usr/bin/python3
"""A thousand routes, beside ip(8); a prefix that moves to another peer. As root, in a namespace.

    unshare --net bench/_routes.py RUNS

The last line is JSON: the seconds of each case. "wait" is the longest that another user of
rtnetlink waited for the kernel's lock while the routes were added, "wait idle" while nobody did
anything; a turn of the scheduler is in both.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

from bmx7wg.core.keys import generate_private_key
from bmx7wg.core.model import DesiredDevice, DesiredPeer, DesiredRoute
from bmx7wg.core.operations import AddRoute, RemoveRoute
from bmx7wg.device.choose import open_device
from bmx7wg.device.routes import Routes
from bmx7wg.rtnetlink import Rtnetlink

DEVICE = "routed"
MANY = 1000
IDLE = 0.1  # s

Results = dict[str, list[float]]


def main() -> None:
    runs = int(sys.argv[1])
    results: Results = {}
    for command in ("link add eth0 type veth peer name other", "link set eth0 up"):
        ip(command)
    with tempfile.TemporaryDirectory() as name:
        add_routes(runs, Path(name), results)
    asyncio.run(move_a_prefix(runs, results))
    print(json.dumps(results))


def add_routes(runs: int, directory: Path, results: Results) -> None:
    """As the service does it, and with a batch of ip(8), which is begun anew for each run."""
    ip(f"tuntap add {DEVICE} mode tun")
    ip(f"link set {DEVICE} up")
    routes = [
        DesiredRoute(IPv4Network((0x0A000000 + (number << 8), 24)), 77, 1024)
        for number in range(MANY)
    ]
    batch = directory / "batch"
    batch.write_text("".join(f"route add {route} dev {DEVICE}\n" for route in routes))
    with Rtnetlink() as route:
        link = route.link(DEVICE)
        assert link is not None
        ours = Routes(route)
        add, remove = list(map(AddRoute, routes)), list(map(RemoveRoute, routes))
        for _ in range(runs):
            take(results, "ip routes", lambda: ip(f"-batch {batch}"))
            ip("route flush table 77")
            take(results, "routes", lambda: ours.perform(link.index, add))
            assert len(ours.routes(link.index)) == MANY
            assert not ours.perform(link.index, remove)
            with waiting(results, "wait"):
                ours.perform(link.index, add)
            ours.remove()
            with waiting(results, "wait idle"):
                time.sleep(IDLE)
    ip(f"link delete {DEVICE}")


async def move_a_prefix(runs: int, results: Results) -> None:
    """From the decision to the kernel; among 100 peers, each of which carries a network."""
    prefix = IPv4Network("10.0.0.0/8")
    peers = {key: carrier(key) for key in (bytes([number]) * 32 for number in range(1, 101))}
    desired = DesiredDevice(
        name=DEVICE,
        private_key=generate_private_key(),
        listen_port=6277,
        firewall_mark=0x6277,
        mtu=1420,
        underlay=(),
        addresses=(IPv6Interface("fd77::1:0:0:1/16"),),
        peers=peers,
        routes=(DesiredRoute(prefix, 77, 1024),),
    )
    device = await open_device("auto", DEVICE)
    try:
        for number in range(2 * runs + 1):
            key = bytes([number % 2 + 1]) * 32
            moved = {**peers, key: carrier(key, prefix)}
            begun = time.perf_counter()
            applied = await device.apply(replace(desired, peers=moved))
            taken = time.perf_counter() - begun
            assert not applied.failures
            if number:
                assert applied.writes == 1, applied
                results.setdefault("switch", []).append(taken)
    finally:
        await device.remove()
        await device.close()


def carrier(key: bytes, *more: IPv4Network) -> DesiredPeer:
    own = IPv4Network((0xC0000000 + (key[0] << 8), 24)), IPv6Network((0xFD77 << 112) + key[0])
    return DesiredPeer(key, key, None, (*more, *own))


@contextmanager
def waiting(results: Results, name: str) -> Iterator[None]:
    """Ask for the kernel's lock without end from another thread; the longest wait is noted."""
    ended, longest = threading.Event(), [0.0]

    def ask() -> None:
        with Rtnetlink() as route:
            while not ended.is_set():
                begun = time.perf_counter()
                route.change_link(1, up=True)
                longest[0] = max(longest[0], time.perf_counter() - begun)
                ended.wait(0.001)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join()
        results.setdefault(name, []).append(longest[0])


def take(results: Results, name: str, call: Callable[[], object]) -> None:
    begun = time.perf_counter()
    call()
    results.setdefault(name, []).append(time.perf_counter() - begun)


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


if __name__ == "__main__":
    main()
