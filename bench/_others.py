"""What a user could run instead of bmx7-wg, each prepared so that one command starts it.

All take two nodes on a link, whose underlay addresses are then fd00::1 and fd00::2.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path

from _common import Prober

from bmx7wg.lab.mesh import Mesh
from bmx7wg.lab.namespace import Namespace, Process
from bmx7wg.lab.node import Node
from bmx7wg.lab.waiting import LabError

PERIOD = 0.002  # s between two pings of a pair


class Other:
    """A program with its command for each node, its interface and its addresses' first digits."""

    def __init__(
        self, mesh: Mesh, interface: str, prefix: str, command: Callable[[Node], str]
    ) -> None:
        self._mesh = mesh
        self._interface = interface
        self._prefix = prefix
        self._command = command
        self.processes: list[Process] = []

    def probe(self) -> Prober:
        return Prober([node.namespace for node in self._mesh], self._address, PERIOD)

    def first_ping(self, timeout: float) -> float:
        """Seconds from exec of the last to answers in both directions."""
        prober = self.probe()
        try:
            begin = self.start()
            return prober.wait(timeout) - begin
        finally:
            self.stop()

    def start(self) -> float:
        """Start it on all nodes; the time of the last exec (monotonic, s)."""
        for number, node in enumerate(self._mesh, 1):  # they go when the link is down
            node.namespace.ip([f"address replace fd00::{number}/64 dev eth0 nodad"])
        for node in self._mesh:
            begin = time.monotonic()
            argv = ["/bin/sh", "-c", self._command(node)]
            environment = node.programs.environment()
            self.processes.append(node.namespace.spawn(argv, env=environment))
        return begin

    def stop(self) -> None:
        self.processes.clear()
        for node in self._mesh:
            node.crash()

    def _address(self, namespace: Namespace) -> IPv6Address | None:
        return namespace.address(self._interface, self._prefix)


def yggdrasil(mesh: Mesh) -> Other:
    """Finds its neighbours by multicast, as we do; new keys at each start."""
    command = "mkdir -p /run/yggdrasil; exec yggdrasil -autoconf"
    return Other(mesh, "tun0", "02", lambda node: command)


def tinc(mesh: Mesh) -> Other:
    """Keys are made and exchanged beforehand; each connects to the other."""
    directories = {node.name: node.namespace.path("/run/tinc") for node in mesh}
    for number, node in enumerate(mesh, 1):
        other = next(name for name in directories if name != node.name)
        directory = directories[node.name]
        write(
            directory / "tinc.conf", f"Name = {node.name}\nConnectTo = {other}\nInterface = tinc\n"
        )
        write(
            directory / "hosts" / node.name, f"Address = fd00::{number}\nSubnet = fd99::{number}\n"
        )
        address = f"ip address add fd99::{number}/16 dev $INTERFACE"
        up = f"#!/bin/sh\n{address}\nip link set $INTERFACE up\n"
        write(directory / "tinc-up", up).chmod(0o755)
        succeed(node, ["tincd", "-c", "/run/tinc", "-K2048"])
    for one in directories:
        for other in directories:
            key = (directories[one] / "hosts" / one).read_text()
            (directories[other] / "hosts" / one).write_text(key)
    command = "exec tincd -c /run/tinc -D --pidfile=/run/tinc.pid"
    return Other(mesh, "tinc", "fd99", lambda node: command)


def plain_wireguard(mesh: Mesh) -> Other:
    """wireguard-go, told by wg(8) all there is to know: the floor for what we build on it."""
    private = {node.name: succeed(node, ["wg", "genkey"]).strip() for node in mesh}
    public = {
        name: subprocess.run(
            ["wg", "pubkey"], input=key, capture_output=True, text=True, check=True
        ).stdout.strip()
        for name, key in private.items()
    }
    for node in mesh:
        config = f"[Interface]\nPrivateKey = {private[node.name]}\nListenPort = 51820\n"
        for number, other in enumerate(mesh, 1):
            if other is not node:
                config += f"[Peer]\nPublicKey = {public[other.name]}\n"
                config += f"Endpoint = [fd00::{number}]:51820\nAllowedIPs = fd98::{number}/128\n"
        write(node.namespace.path("/run/plain/wg.conf"), config)

    def command(node: Node) -> str:
        steps = (
            "wireguard-go wg0 >/dev/null 2>&1",
            "wg setconf wg0 /run/plain/wg.conf",
            f"ip address add fd98::{node.name.removeprefix('n')}/16 dev wg0",
            "ip link set wg0 up",
        )
        return " && ".join(steps)

    return Other(mesh, "wg0", "fd98", command)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def succeed(node: Node, argv: list[str]) -> str:
    done = node.exec(argv)
    if done.returncode:
        raise LabError(f"{node.name}: {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
