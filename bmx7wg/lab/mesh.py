"""A mesh of nodes, made and taken down as one.

::

    with Mesh(lan(5)) as mesh:
        mesh.start()
        mesh.wait_connected(timeout=10)
        print(mesh["n1"].status())
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from . import programs as programs_
from .namespace import Namespace
from .node import READY_TIMEOUT, Node
from .programs import Programs
from .topology import Link, Topology
from .waiting import wait_until


class Mesh:
    """Nodes by name, joined as the topology says, each with its bus running.

    It lives until `close`, the end of the ``with`` block, or the end of this process, however
    that comes about.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        config: str = "",
        programs: Programs | None = None,
        progress: Callable[[str], None] = lambda step: None,
    ) -> None:
        self.topology: Final = topology
        self.nodes: Final[dict[str, Node]] = {}
        self.namespaces: Final[list[Namespace]] = []
        self._programs = programs or programs_.find()
        try:
            for name in topology.nodes:
                progress(name)
                node = Node(self._namespace(name), self._programs)
                self.nodes[name] = node
                node.prepare(config)
            self._join()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Mesh:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def start(self, *, timeout: float = READY_TIMEOUT) -> None:
        """Start all services at once and wait until each is ready."""
        for node in self:
            node.start()
        for node in self:
            node.wait_ready(timeout)

    def wait_connected(self, *, timeout: float) -> None:
        """Wait until every node is connected with each node that shares a link with it."""
        deadline = time.monotonic() + timeout
        for node in self:
            names = set(self.topology.neighbours(node.name))
            node.wait_connected(names, max(deadline - time.monotonic(), 0))

    def leave_running(self) -> None:
        """Let it live on when this process ends; whoever calls this must have noted it down."""
        while self.namespaces:
            self.namespaces.pop().keep()
        self.close()

    def close(self) -> None:
        """End every process of every node; all else goes with them."""
        while self.namespaces:
            self.namespaces.pop().destroy()
        for node in self:
            node.close()

    def _namespace(self, name: str) -> Namespace:
        namespace = Namespace.create(name)
        self.namespaces.append(namespace)
        return namespace

    def _join(self) -> None:
        for number, link in enumerate(self.topology.links):
            if len(link.ends) == 2:
                self._cable(link)
            else:
                self._bridge(link, self._namespace(f"switch{number}"))
        for node in self:
            wait_until(
                lambda: _link_local(node) == self._degree(node),
                f"link-local address on every interface of {node.name}",
                timeout=5,
                interval=0.01,
            )

    def _cable(self, link: Link) -> None:
        here, there = link.ends
        peer = f"peer name {there.interface} netns {self[there.node].namespace.pid}"
        self[here.node].namespace.ip(
            [f"link add name {here.interface} type veth {peer}", f"link set {here.interface} up"]
        )
        self[there.node].namespace.ip([f"link set {there.interface} up"])

    def _bridge(self, link: Link, switch: Namespace) -> None:
        # Nobody answers IGMP or MLD queries here, so snooping would be guessing.
        lines = ["link add name br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0"]
        lines.append("link set br0 up")
        for end in link.ends:
            peer = f"peer name {end.interface} netns {self[end.node].namespace.pid}"
            lines.append(f"link add name {end.node} type veth {peer}")
            lines.append(f"link set {end.node} master br0 up")
        switch.ip(lines)
        for end in link.ends:
            self[end.node].namespace.ip([f"link set {end.interface} up"])

    def _degree(self, node: Node) -> int:
        return sum(end.node == node.name for link in self.topology.links for end in link.ends)


def _link_local(node: Node) -> int:
    """How many link-local addresses a node has."""
    table = node.namespace.proc("net/if_inet6").read_text()
    return sum(line.startswith("fe80") for line in table.splitlines())
