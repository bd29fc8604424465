"""Nodes of the link protocol joined in memory, with a virtual clock and a link that misbehaves."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from random import Random

from bmx7wg.core.identity import NodeId
from bmx7wg.core.keys import SigningKey
from bmx7wg.core.linkproto import LinkProtocol
from bmx7wg.core.linkschedule import GROUP
from bmx7wg.core.model import Announced, Announcement, Withdrawn
from bmx7wg.core.sequence import Sequence

E0 = 1  # the index of each node's first interface
EPOCH = 1_700_000_000 * 1_000_000  # µs


@dataclass
class Sent:
    at: float
    sender: Node
    interface: int
    to_group: bool
    data: bytes


class Node:
    def __init__(self, world: World, number: int, clock_error: int) -> None:
        self.world = world
        self.number = number
        self.clock_error = clock_error  # µs
        self.address = IPv6Address(f"fe80::{number + 1:x}")
        self.key = SigningKey(number.to_bytes(32, "big"))
        self.node_id = self.key.node_id
        self.content = Announcement(self.key.public, 6277, f"n{number}")
        self.reserved = 0
        self.known: dict[NodeId, Announced] = {}
        self.known_at: dict[NodeId, float] = {}
        self.withdrawn: list[Withdrawn] = []
        self.observed = 0
        self.boot()

    def boot(self) -> None:
        """Begin with nothing but what is on disk: the key and the reserved sequence."""
        self.running = False
        self.protocol = LinkProtocol(
            self.key, Random(self.number), Sequence(self.reserved, self._reserve)
        )

    def _reserve(self, sequence: int) -> None:
        self.reserved = sequence

    @property
    def wall_us(self) -> int:
        return EPOCH + self.clock_error + int(self.world.now * 1_000_000)

    def start(self, *interfaces: int) -> None:
        self.running = True
        for interface in interfaces or (E0,):
            self.protocol.interface_up(interface, f"e{interface - 1}", self.world.now)
        self.announce(self.content)

    def announce(self, content: Announcement) -> None:
        self.content = content
        self.protocol.announce(content, self.world.now)
        self.turn()

    def kill(self) -> None:
        self.running = False

    def leave(self) -> None:
        self.protocol.goodbye(self.wall_us)
        self.turn()
        self.running = False

    def receive(self, interface: int, source: IPv6Address, data: bytes) -> None:
        self.protocol.datagram(interface, source, 255, data, self.world.now, self.wall_us)
        self.turn()

    def turn(self) -> None:
        if not self.running:
            return
        self.protocol.timeout(self.world.now, self.wall_us)
        sends, observations = self.protocol.drain()
        for send in sends:
            self.world.sent.append(
                Sent(self.world.now, self, send.interface, send.destination == GROUP, send.data)
            )
            self.world.carry(self, send.interface, send.destination, send.data)
        for observation in observations:
            self.observed += 1
            if isinstance(observation, Announced):
                self.known_at.setdefault(observation.node_id, self.world.now)
                self.known[observation.node_id] = observation
            else:
                self.withdrawn.append(observation)
                del self.known[observation.node_id]
                del self.known_at[observation.node_id]
        self.world.wake(self)

    def knows(self, *others: Node) -> bool:
        return all(other.node_id in self.known for other in others)


@dataclass
class World:
    """All nodes' interfaces with one index are on one link."""

    seed: int = 0
    loss: float = 0.0  # share of frames, at each receiver
    duplicates: float = 0.0
    delay: tuple[float, float] = (0.0002, 0.0005)  # s; a wide range reorders
    now: float = 1000.0
    nodes: list[Node] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    reaches: Callable[[Node, int, Node], bool] = lambda sender, interface, receiver: True

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wakes: dict[int, float] = {}

    def node(self, clock_error: int = 0) -> Node:
        node = Node(self, len(self.nodes), clock_error)
        self.nodes.append(node)
        return node

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), action))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    def carry(self, sender: Node, interface: int, destination: IPv6Address, data: bytes) -> None:
        for node in self.nodes:
            wanted = destination == GROUP or destination == node.address
            if node is sender or not wanted or not self.reaches(sender, interface, node):
                continue
            copies = 2 if self._random.random() < self.duplicates else 1
            for _ in range(copies):
                if self._random.random() >= self.loss:
                    self._deliver(node, interface, sender.address, data)

    def _deliver(self, node: Node, interface: int, source: IPv6Address, data: bytes) -> None:
        def arrive() -> None:
            if node.running:
                node.receive(interface, source, data)

        self.at(self.now + self._random.uniform(*self.delay), arrive)

    def wake(self, node: Node) -> None:
        when = node.protocol.next_timeout()
        if when is None or self._wakes.get(node.number) == when:
            return
        self._wakes[node.number] = when
        assert when > self.now - 1e-6, "a timeout in the past would be a busy loop"

        def timeout() -> None:
            if self._wakes.get(node.number) == when:
                del self._wakes[node.number]
                node.turn()

        self.at(max(when, self.now), timeout)
