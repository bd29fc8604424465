"""The MTU of the paths to peers beyond the link, as the kernel's routes know it.

A router that can carry less says so (RFC 1191, RFC 8201), and the kernel keeps that with the route
for ten minutes; an administrator may write it into a route. Neither makes an event, so the routes
are asked again every minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..core.limits import MAX_PATHS
from ..core.model import Address
from ..netlink import NetlinkError
from ..rtnetlink import Rtnetlink

_FRESH: Final = 55.0  # s; less than the time between two looks at everything
_HOLD: Final = 3600.0  # s that what a router said counts; to try more costs packets


class Paths:
    """Asks and remembers; `now` is monotonic seconds."""

    def __init__(self, route: Rtnetlink) -> None:
        self._route = route
        self._known: dict[Address, int] = {}
        self._known_until = float("-inf")
        self._held: dict[Address, tuple[int, float]] = {}  # MTU, until when it counts

    def smallest(self, peers: Iterable[Address], *, mark: int, own: int, now: float) -> int:
        """The smallest MTU in bytes on the way to these addresses, 0 if there is none known.

        *mark* is the firewall mark of the packets; a path through the link *own* does not count.
        """
        wanted = set(peers)
        if now >= self._known_until:
            self._known.clear()
            self._known_until = now + _FRESH
        links: dict[int, int] = {own: 0}
        for address in wanted - self._known.keys():
            if len(self._known) >= MAX_PATHS:
                break
            self._known[address] = self._ask(address, mark, links, now)
        self._held = {
            address: (mtu, until)
            for address, (mtu, until) in self._held.items()
            if now < until and address in wanted
        }
        found = [mtu for address, mtu in self._known.items() if mtu and address in wanted]
        return min([*found, *(mtu for mtu, _ in self._held.values())], default=0)

    def _ask(self, address: Address, mark: int, links: dict[int, int], now: float) -> int:
        try:
            path = self._route.path(address, mark)
        except NetlinkError:
            return 0  # no way there, for now
        if path.index not in links:
            link = self._route.link(path.index)
            links[path.index] = link.mtu if link is not None else 0
        if not links[path.index]:
            return 0
        mtu = min(path.mtu, links[path.index]) if path.mtu else links[path.index]
        if path.learnt:
            before, _ = self._held.get(address, (mtu, now))
            self._held[address] = min(mtu, before), now + _HOLD
        return mtu
