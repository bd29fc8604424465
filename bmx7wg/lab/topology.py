"""What a mesh looks like: nodes, and the links that they share. Pure; nothing is made here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

MAX_NODES: Final = 250  # a bound for typing errors; memory gives out first


@dataclass(frozen=True)
class Attachment:
    """An interface of a node."""

    node: str
    interface: str


@dataclass(frozen=True)
class Link:
    """What a multicast of one end reaches: two ends are a cable, more are a bridge."""

    ends: tuple[Attachment, ...]


@dataclass(frozen=True)
class Topology:
    nodes: tuple[str, ...]
    links: tuple[Link, ...]

    def neighbours(self, node: str) -> frozenset[str]:
        """The nodes that share a link with *node*."""
        names = (
            end.node
            for link in self.links
            if any(mine.node == node for mine in link.ends)
            for end in link.ends
        )
        return frozenset(names) - {node}


def lan(count: int) -> Topology:
    """All nodes on one link::

    n1   n2   n3
     └────┼────┘
    """
    nodes = _names(count)
    ends = tuple(Attachment(node, "eth0") for node in nodes)
    return Topology(nodes, (Link(ends),) if count > 1 else ())


def line(count: int) -> Topology:
    """A link between each node and the next; eth0 leads down the line, eth1 up::

    n1 ── n2 ── n3
    """
    nodes = _names(count)
    links = tuple(
        Link((Attachment(here, "eth1"), Attachment(there, "eth0")))
        for here, there in zip(nodes, nodes[1:])
    )
    return Topology(nodes, links)


TOPOLOGIES: Final[Mapping[str, Callable[[int], Topology]]] = {"lan": lan, "line": line}


def _names(count: int) -> tuple[str, ...]:
    if not 1 <= count <= MAX_NODES:
        raise ValueError(f"a mesh has 1 to {MAX_NODES} nodes, not {count}")
    return tuple(f"n{number}" for number in range(1, count + 1))
