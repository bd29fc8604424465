"""Prefixes that are never taken from anybody, each with its reason (design.md 6).

Packets to them would go astray: to a peer instead of a neighbour on the wire, or, WireGuard's own,
into the tunnel that they carry.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterator

from .identity import NodeId
from .model import Address, Network
from .policy import SIZES, Key
from .prefixes import inside, reserved


class Refusals:
    """Call it with a prefix: why it is not to be taken, or an empty text."""

    def __init__(self, *, marked: bool) -> None:
        """*marked*: WireGuard's own packets have a firewall mark to tell them by."""
        self._marked = marked
        self._local: dict[Network, str] = {}
        self._given: dict[Network, str] = {}  # to peers, by the administrator
        self._endpoints: dict[NodeId, Address] = {}
        self._sorted: dict[int, list[int]] = {4: [], 6: []}  # the same, by IP version

    def __call__(self, prefix: Network) -> str:
        if what := reserved(prefix):
            return f"it is inside {what}"
        default = prefix.prefixlen == 0
        if default and not self._marked:
            return "a default route needs device.firewall-mark, to tell WireGuard's own packets by"
        for local, what in self._local.items():
            # Who is a way to everywhere may still need others for the parts.
            within = inside(prefix, local) if local.prefixlen else default and inside(prefix, local)
            if within or (not default and inside(local, prefix)):
                return what
        for given, what in self._given.items():
            if inside(prefix, given):
                return what
        if not default and self._covers_endpoint(prefix):
            return "the endpoint of a peer is inside it"
        return ""

    def surround(self, local: dict[Network, str], given: dict[Network, str]) -> bool:
        """What is this machine's and what the administrator gave away, each with a sentence.

        Returns whether that is news.
        """
        if (local, given) == (self._local, self._given):
            return False
        self._local, self._given = local, given
        return True

    def endpoint(self, node_id: NodeId, address: Address | None) -> Collection[Key]:
        """A peer's packets go there now (None: nowhere); returns the prefixes that it concerns."""
        before = self._endpoints.get(node_id)
        if before == address:
            return ()
        if before is not None:
            del self._endpoints[node_id]
            values = self._sorted[before.version]
            del values[bisect_left(values, int(before))]
        if address is not None:
            self._endpoints[node_id] = address
            insort(self._sorted[address.version], int(address))
        return [key for changed in (before, address) if changed for key in _above(changed)]

    def _covers_endpoint(self, prefix: Network) -> bool:
        key, values = Key.of(prefix), self._sorted[prefix.version]
        return bisect_left(values, key.address) < bisect_right(values, key.last)


def _above(address: Address) -> Iterator[Key]:
    """Every prefix that an address is inside of."""
    size = SIZES[address.version]
    host = Key(int(address), size, address.version)
    return (host.above(length) for length in range(size + 1))
