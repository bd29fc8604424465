"""What the bus asks of the service: the one thing that it knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..core.identity import NodeId


class Controller(Protocol):
    """The service as the bus knows it.

    Who called was authorized before. Whatever fails raises CallError, and nothing has changed.
    """

    #: Words of org.freedesktop.LogControl1(5); a wrong one raises CallError.
    log_level: str
    log_target: str

    @property
    def syslog_identifier(self) -> str:
        """What our lines in the journal are found by."""

    async def refresh(self) -> None:
        """Bring counters and handshakes up to date (at most 1 s old) and publish them."""

    def counters(self) -> Mapping[str, int]:
        """What neighbours sent and what of it was refused, by reason, since the start."""

    async def add_peer(self, said: Mapping[str, object]) -> NodeId:
        """Add a static peer; *said* has the keys of a [[peer]] and plain values."""

    async def remove_peer(self, node_id: NodeId) -> None:
        """Remove a static peer."""

    async def block(self, node_id: NodeId) -> None:
        """Keep a node out, whether it is there or not."""

    async def unblock(self, node_id: NodeId) -> bool:
        """Let a node in again; returns whether it was blocked."""

    async def probe(self, node_id: NodeId) -> int:
        """The round trip to a peer in µs."""

    async def offer_network(self, said: Mapping[str, object]) -> None:
        """Carry a network; *said* has the keys of an [[offer]] and plain values."""

    async def withdraw_network(self, network: str) -> None:
        """Carry a network no more."""

    async def search_network(self, said: Mapping[str, object]) -> None:
        """Look for networks; *said* has the keys of a [[search]] and plain values."""

    async def forget_search(self, text: str) -> None:
        """Look no more for what the search with this name or network is about."""

    async def rotate_key(self) -> str:
        """Switch to a new WireGuard key; its public half as text."""

    async def synchronize(self) -> None:
        """Read the source and the device anew."""

    async def reload(self) -> None:
        """Read the configuration anew."""
