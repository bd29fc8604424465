"""What this node announces to carry for others (design.md 6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import collapse_addresses, ip_network
from typing import Any, Final

from .config import Config
from .limits import MAIN_TABLE, MAX_BANDWIDTH, MAX_NETWORKS, MAX_OFFERED
from .model import Network, Offer, OfferRule, Surroundings
from .policy import Key
from .prefixes import inside, reserved

_AROUND: Final = len('["",],')  # what JSON puts around an offer's prefix and bandwidth


class Offering:
    """The offers of a configuration that hold, in surroundings that change.

    What is announced longest stays when there is not room for all.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._surroundings = Surroundings()
        #: What is announced.
        self.offers: tuple[Offer, ...] = ()
        #: How many networks there was no room for.
        self.left_out = 0
        self._settle()

    def reconfigure(self, config: Config) -> None:
        self._config = config
        self._settle()

    def surround(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._settle()

    @property
    def tables(self) -> frozenset[int]:
        """The routing tables that `Surroundings` has to tell of."""
        rules = self._config.offers
        return frozenset(
            {rule.from_table for rule in rules if rule.from_table}
            | {MAIN_TABLE for rule in rules if rule.while_route}
        )

    def _settle(self) -> None:
        wanted: dict[Network, int] = {}  # the prefix → bandwidth
        for address in self._config.device.addresses:
            wanted[ip_network(address.ip)] = MAX_BANDWIDTH
        for rule in self._config.offers:
            for prefix in self._prefixes(rule):
                wanted[prefix] = max(rule.bandwidth, wanted.get(prefix, 0))
        before = [offer.prefix for offer in self.offers if offer.prefix in wanted]
        offers: list[Offer] = []
        room = MAX_OFFERED
        for prefix in dict.fromkeys((*before, *wanted)):
            room -= len(f"{prefix}{wanted[prefix]}") + _AROUND
            if room < 0 or len(offers) == MAX_NETWORKS:
                break
            offers.append(Offer(prefix, wanted[prefix]))
        self.offers, self.left_out = tuple(offers), len(wanted) - len(offers)

    def _prefixes(self, rule: OfferRule) -> Iterable[Network]:
        if rule.from_table:
            found: list[Any] = sorted(self._in_table(rule), key=Key.of)  # all of one IP version
            return collapse_addresses(found) if rule.aggregate else found
        return (rule.network,) if not rule.while_route or self._has_route(rule.network) else ()

    def _in_table(self, rule: OfferRule) -> Iterator[Network]:
        for prefix in self._surroundings.routes.get(rule.from_table, ()):
            within = rule.min_prefix_length <= prefix.prefixlen <= rule.max_prefix_length
            if within and inside(prefix, rule.network) and not reserved(prefix):
                yield prefix

    def _has_route(self, network: Network) -> bool:
        """Whether there is a way to it; a default route is one to a default route alone."""
        known = self._surroundings.routes.get(MAIN_TABLE, frozenset())
        return any(
            inside(network, route) and bool(route.prefixlen) == bool(network.prefixlen)
            for route in (*known, *self._surroundings.connected)
        )
