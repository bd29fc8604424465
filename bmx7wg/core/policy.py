"""Which gateway carries which network: the rules, as users of bmx7's tunnels know them.

- An offer matches a search if both prefixes are of one IP version and one inside the other, the
  offer's length is within the search's bounds, and the gateway is one that the search allows.
  The longer prefix of the two is what is routed.
- The quality of an offer is unlimited if its bandwidth is at least what the search wants, else
  its bandwidth. The end-to-end metric is the lesser of quality and path metric; the tunnel
  metric is that × rating, and × (100 % + hysteresis) for the gateway that carries the prefix.
- Searches with one rule, one route metric and one IP version are a group. In a group the best
  gateway has a prefix. A prefix that has a better one above it (shorter, and it inside) is left
  to that, unless the search of the shorter allows overlaps and its own may break into one.
- A better standing counts more than any metric. Of gateways that are lost or failed lately the
  one in use stays. What is then still equal goes by node id, so that the order of arrival means
  nothing.
- A gateway that a prefix was taken from does not get it back by its metric within a minute: not
  from one in use that stands as well, nor, if the prefix was left to a better one above it, while
  one above has a gateway that stands as well.
- WireGuard has one trie of allowed IPs: in all groups a prefix goes to the same gateway, the one
  that the group with the lowest rule (then metric) chose.

Here are the values; selection.py has the choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from .identity import NodeId
from .limits import MAX_METRIC
from .model import Network, Offer, Search
from .searches import name_of, shortest

UNLIMITED: Final = MAX_METRIC  # the quality of an offer with all the bandwidth that is wanted
UNKNOWN: Final = 1  # bit/s; a way that nobody measured yet is one, and worse than any known


SIZES: Final = {4: 32, 6: 128}  # bits of an address


class Standing(IntEnum):
    """What a gateway is good for, before any metric counts; the lower the better."""

    KEPT = 0  # has the prefix since before this service started
    PROVEN = 1  # there was a handshake with it
    NEW = 2
    DOUBTFUL = 3  # lost, or failed lately and back
    LAST_RESORT = 4  # does not answer


@dataclass(frozen=True)
class Gateway:
    """What counts of a node that offers something."""

    node_id: NodeId
    name: str
    offers: tuple[Offer, ...]
    metric: int  # of the path to it, bit/s; 0: not known
    standing: Standing = Standing.PROVEN
    flaw: str = ""  # why its standing is no better


@dataclass(frozen=True)
class Route:
    """Where a chosen prefix is looked up, and the metric of its route."""

    table: int
    metric: int


class Choice(NamedTuple):
    """Who carries a prefix, and the routes that lead to it."""

    gateway: NodeId
    routes: tuple[Route, ...]


class Key(NamedTuple):
    """A prefix in numbers: comparing and hashing those of ipaddress takes ten times as long."""

    address: int
    length: int
    version: int

    @classmethod
    def of(cls, prefix: Network) -> Key:
        return cls(int(prefix.network_address), prefix.prefixlen, prefix.version)

    @property
    def free_bits(self) -> int:
        """How many bits of an address the prefix leaves open."""
        return SIZES[self.version] - self.length

    def above(self, length: int) -> Key:
        """The prefix of this length that this one is inside of."""
        bits = SIZES[self.version] - length
        return Key(self.address >> bits << bits, length, self.version)

    @property
    def last(self) -> int:
        """The last address in it."""
        return self.address | (1 << self.free_bits) - 1


class Group(NamedTuple):
    """Searches that share rule, route metric and IP version."""

    rule: int
    metric: int
    version: int


class Wish:
    """A search, made ready to be compared with many offers."""

    __slots__ = (
        "search",
        "order",
        "key",
        "group",
        "route",
        "low",
        "high",
        "bonus",
        "picky",
        "name",
    )

    def __init__(self, search: Search, order: int) -> None:
        self.search = search
        self.order = order  # among searches; decides between two that are equal otherwise
        self.key = Key.of(search.network)
        self.group = Group(search.rule, search.metric, search.network.version)
        self.route = Route(search.table, search.metric)
        self.low, self.high = shortest(search), search.max_prefix_length
        self.bonus = 100 + search.hysteresis
        self.picky = bool(search.gateway_name) or search.gateway_id is not None
        self.name = search.gateway_name.lower()

    def allows(self, gateway: Gateway) -> bool:
        """Whether the search is content with this gateway."""
        wanted = self.search.gateway_id
        if wanted is not None and gateway.node_id != wanted:
            return False
        return not self.name or gateway.name.lower() == self.name

    def quality(self, bandwidth: int) -> int:
        return UNLIMITED if bandwidth >= self.search.min_bandwidth else bandwidth


class Wishes:
    """All searches, found by the prefix that is offered."""

    def __init__(self, searches: Iterable[Search]) -> None:
        # Of two that want the same of the same gateway, the words of the narrower one count.
        ordered = sorted(searches, key=lambda s: (-s.network.prefixlen, name_of(s)))
        self._all = [Wish(search, order) for order, search in enumerate(ordered)]
        #: By IP version, then length: the searched networks, by the bits that the length leaves.
        self._networks: dict[int, dict[int, dict[int, list[Wish]]]] = {4: {}, 6: {}}
        for wish in sorted(self._all, key=lambda wish: wish.key.length):
            lengths = self._networks[wish.key.version]
            networks = lengths.setdefault(wish.key.length, {})
            networks.setdefault(wish.key.address >> wish.key.free_bits, []).append(wish)
        #: Those that are content with a part of a shorter prefix.
        self._wide = [wish for wish in self._all if wish.low < wish.key.length]

    def __iter__(self) -> Iterator[Wish]:
        return iter(self._all)

    def __getitem__(self, order: int) -> Wish:
        return self._all[order]

    def matching(self, offered: Key) -> list[Wish]:
        """The searches that an offer of this prefix matches, whoever makes it."""
        address, length, version = offered
        size, found = SIZES[version], []
        for shorter, networks in self._networks[version].items():
            if shorter > length:
                break
            for wish in networks.get(address >> size - shorter, ()):
                if wish.low <= length <= wish.high:
                    found.append(wish)
        for wish in self._wide:
            if wish.low <= length <= wish.high and length < wish.key.length:
                if wish.key.version == version and wish.key.above(length) == offered:
                    found.append(wish)
        return found
