"""Nodes on real links, for tests: namespaces, a switch between them, a source in each.

    node namespace ── e0 ─┐
    node namespace ── e0 ─┼─ bridge, in a namespace of its own
    node namespace ── e0 ─┘

Names hold the process id, so runs side by side don't meet.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from ipaddress import IPv6Address
from typing import Any

from bmx7wg.core.config import LinkConfig
from bmx7wg.core.identity import NodeId
from bmx7wg.core.keys import SigningKey
from bmx7wg.core.model import (
    Announced,
    Announcement,
    Observation,
    SourceState,
    SourceStatus,
    Withdrawn,
)
from bmx7wg.discovery.link import LinkSource

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)


class Namespace:
    """A network namespace; without duplicate address detection unless *dad*, for speed."""

    def __init__(self, name: str, *, dad: bool = False) -> None:
        self.name = f"b7l-{os.getpid()}-{name}"
        run("ip", "netns", "add", self.name)
        if not dad:
            self.execute(
                "sh", "-c", "for f in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 >$f; done"
            )

    def ip(self, *arguments: str) -> None:
        run("ip", "-n", self.name, *arguments)

    def execute(self, *command: str) -> None:
        run("ip", "netns", "exec", self.name, *command)

    def enter(self) -> None:
        """Move the calling thread into this namespace."""
        with open(f"/run/netns/{self.name}", "rb") as file:
            _set_namespace(file.fileno())

    def batch(self, commands: str) -> None:
        """Many commands of ip(8), one a line, in no time."""
        subprocess.run(["ip", "-n", self.name, "-batch", "-"], check=True, input=commands.encode())

    def is_ready(self, interface: str) -> bool:
        """Whether the interface is up, has carrier and a usable link-local address."""
        return self._show(interface)["operstate"] == "UP" and bool(self.addresses(interface))

    def _show(self, interface: str) -> dict[str, Any]:
        command = ["ip", "-n", self.name, "-j", "address", "show", "dev", interface]
        (shown,) = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        assert isinstance(shown, dict)
        return shown

    def addresses(self, interface: str) -> list[IPv6Address]:
        """The usable link-local addresses of an interface."""
        shown = self._show(interface)
        return [
            IPv6Address(info["local"])
            for info in shown["addr_info"]
            if info["scope"] == "link" and not info.get("tentative")
        ]

    def delete(self) -> None:
        run("ip", "netns", "delete", self.name)


@contextlib.contextmanager
def in_namespace(namespace: Namespace) -> Iterator[None]:
    """This thread is inside *namespace* meanwhile; what it opens stays there."""
    with open("/proc/thread-self/ns/net", "rb") as home:
        namespace.enter()
        try:
            yield
        finally:
            _set_namespace(home.fileno())


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Switch:
    """A bridge in its own namespace, to which nodes are plugged."""

    def __init__(self, namespace: Namespace, bridge: str = "br0") -> None:
        self.namespace = namespace
        self.bridge = bridge
        # No multicast snooping: it needs a querier, which a test does not want to wait for.
        namespace.ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
        namespace.ip("link", "set", bridge, "up")

    def plug(self, node: Namespace, name: str = "e0") -> str:
        """Connect *node* with a veth called *name* at its end; returns the port's name."""
        port = f"{node.name.rpartition('-')[2]}-{name}"
        self.namespace.ip(
            "link", "add", port, "type", "veth", "peer", "name", name, "netns", node.name
        )
        self.namespace.ip("link", "set", port, "master", self.bridge, "up")
        node.ip("link", "set", name, "up")
        return port

    def carrier(self, port: str, state: str) -> None:
        self.namespace.ip("link", "set", port, state)


class Node:
    """A `LinkSource` with an event loop of its own, in a thread inside a namespace."""

    def __init__(
        self,
        namespace: Namespace,
        *,
        config: LinkConfig = LinkConfig(),
        interval: float = 10.0,
        exclude: tuple[str, ...] = (),
        seed: bytes | None = None,
    ) -> None:
        self.namespace = namespace
        self.seed = seed or SigningKey.generate_seed()
        self.key = SigningKey(self.seed)
        self.node_id = self.key.node_id
        self.said = Announcement(self.key.public, 6277, namespace.name.rpartition("-")[2])
        self.observed: list[Observation] = []
        self.saved: list[int] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.source = LinkSource(
            config=config,
            signing_key=self.key,
            sequence=0,
            save_sequence=self.saved.append,
            observe=self.observed.append,
            exclude=exclude,
            interval=interval,
        )

    def start(self) -> None:
        self._call(self.source.start())

    def announce(self) -> None:
        async def announce() -> None:
            self.source.announce(self.said)

        self._call(announce())

    def resync(self) -> None:
        self._call(self.source.resync())

    def stop(self) -> None:
        self._call(self.source.stop())

    def silence(self) -> None:
        """As if it were killed: it hears and says nothing from now on."""
        self.namespace.ip("link", "delete", "e0")

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Its event loop stands still meanwhile."""
        standing, go_on = threading.Event(), threading.Event()

        def stand() -> None:
            standing.set()
            go_on.wait(30)

        self._loop.call_soon_threadsafe(stand)
        standing.wait(10)
        try:
            yield
        finally:
            go_on.set()

    def close(self) -> None:
        self._call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- what it knows ----------------------------------------------------------------------

    @property
    def known(self) -> dict[NodeId, Announced]:
        """Who is there, as the observations so far say."""
        known: dict[NodeId, Announced] = {}
        for observation in tuple(self.observed):
            if isinstance(observation, Announced):
                known[observation.node_id] = observation
            elif isinstance(observation, Withdrawn):
                del known[observation.node_id]
        return known

    @property
    def status(self) -> SourceStatus:
        return [o for o in tuple(self.observed) if isinstance(o, SourceStatus)][-1]

    @property
    def ready(self) -> bool:
        return self.status.state is SourceState.READY

    def address(self, interface: str = "e0") -> IPv6Address:
        (address,) = self.namespace.addresses(interface)
        return address

    def index(self, interface: str = "e0") -> int:
        with in_namespace(self.namespace):
            return socket.if_nametoindex(interface)

    def wait_for(self, other: Node, seconds: float = 10.0) -> Announced:
        wait_for(lambda: other.node_id in self.known, f"{other.said.name} is known", seconds)
        return self.known[other.node_id]

    def wait_without(self, other: Node, seconds: float = 10.0) -> None:
        wait_for(lambda: other.node_id not in self.known, f"{other.said.name} is gone", seconds)

    # -- its thread -------------------------------------------------------------------------

    def _run(self) -> None:
        self.namespace.enter()
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        future.result(10)


class Ground:
    """Makes namespaces, switches and nodes, and takes all of them away."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def namespace(self, name: str, *, dad: bool = False) -> Namespace:
        namespace = Namespace(name, dad=dad)
        self._stack.callback(namespace.delete)
        return namespace

    def switch(self, name: str = "switch") -> Switch:
        return Switch(self.namespace(name))

    def node(self, namespace: Namespace, **options: Any) -> Node:
        """A started node that announces itself."""
        node = Node(namespace, **options)
        self._stack.callback(node.close)
        self._stack.callback(node.stop)
        node.start()
        node.announce()
        return node

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    made = Ground()
    try:
        yield made
    finally:
        made.close()
