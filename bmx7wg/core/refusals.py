"""Prefixes that are never taken from anybody, each with its reason (design.md 6).

Packets to them would go astray: to a peer instead of a neighbour on the wire, or, WireGuard's own,
into the tunnel that they carry. With a firewall mark the second can't be, and a prefix that merely
covers a network on a link is safe: `Networks.rules` has the main table's own routes come first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_network
from typing import NamedTuple

from .config import Config
from .identity import NodeId
from .model import Address, Network, Offer, Surroundings
from .policy import SIZES, Key
from .prefixes import inside, reserved


class _Local(NamedTuple):
    """A prefix of this machine's own."""

    what: str  # in a sentence
    found: bool  # by the routes that come before ours, whatever covers it


class Refusals:
    """Call it with a prefix: why it is not to be taken, or an empty text."""

    def __init__(self, *, marked: bool) -> None:
        """*marked*: WireGuard's own packets have a firewall mark to tell them by."""
        self._marked = marked
        self._local: dict[Network, _Local] = {}
        self._given: dict[Network, str] = {}  # to peers, by the administrator
        self._endpoints: dict[NodeId, Address] = {}
        self._sorted: dict[int, list[int]] = {4: [], 6: []}  # the same, by IP version

    def __call__(self, prefix: Network) -> str:
        if what := reserved(prefix):
            return f"it is inside {what}"
        default = prefix.prefixlen == 0
        if default and not self._marked:
            return "a default route needs device.firewall-mark, to tell WireGuard's own packets by"
        for local, (what, found) in self._local.items():
            # Who is a way to everywhere may still need others for the parts.
            if inside(prefix, local) and (default or local.prefixlen):
                return what
            if not default and not (found and self._marked) and inside(local, prefix):
                return what
        for given, what in self._given.items():
            if inside(prefix, given):
                return what
        if self._covers_endpoint(prefix):
            return "the endpoint of a peer is inside it"
        return ""

    def surround(self, config: Config, offers: Iterable[Offer], surroundings: Surroundings) -> bool:
        """What is this machine's, and what the administrator gave away. True if that is news."""
        on_links, hosts = surroundings.connected, set(map(ip_network, surroundings.addresses))
        own = hosts.union(ip_network(interface.ip) for interface in config.device.addresses)
        local = {
            prefix: _Local(
                f"this node offers {prefix}",
                found=prefix in own or any(inside(prefix, link) for link in on_links),
            )
            for prefix in (offer.prefix for offer in offers)
        }
        for prefix in on_links:
            local.setdefault(prefix, _Local(f"{prefix} is on a link of this machine", found=True))
        for host in hosts:
            what = f"{host.network_address} is an address of this machine"
            local.setdefault(host, _Local(what, found=True))
        given = {
            prefix: f"the configuration gives {prefix} to peer {peer.identity}"
            for peer in config.peers
            for prefix in peer.allowed_ips
        }
        if (local, given) == (self._local, self._given):
            return False
        self._local, self._given = local, given
        return True

    def endpoint(self, node_id: NodeId, address: Address | None) -> Collection[Key]:
        """A peer's packets go there now (None: nowhere); returns the prefixes that it concerns.

        None are, if WireGuard's packets don't look into the tables that a prefix leads to.
        """
        before = self._endpoints.get(node_id)
        if self._marked or before == address:
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
