"""The device's link, its addresses and routes, and the MTU that the underlay allows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..core.limits import MIN_MTU, WIREGUARD_OVERHEAD
from ..core.model import DesiredDevice, Interface, Network
from ..core.operations import (
    AddAddress,
    LinkOperation,
    Mark,
    RemoveAddress,
    Rename,
    RestoreRoute,
    SetMtu,
    SetUp,
)
from ..core.plan import has_connected_route
from ..rtnetlink import IFF_LOOPBACK, RT_TABLE_MAIN, RTPROT_KERNEL, Link, Route, Rtnetlink
from .backend import OURS, PROTOCOL

_DEFAULT_MTU: Final = 1420  # without any underlay: of an Ethernet, as WireGuard's own
_CONNECTED_METRIC: Final = 256  # of the route that the kernel adds with an IPv6 address

# linux/if_arp.h: tunnels of all kinds, and devices without a link layer such as TUN
_TUNNEL_TYPES: Final = frozenset({768, 769, 776, 778, 823, 65534})
_TUNNEL_KINDS: Final = frozenset({"tun", "wireguard", "vxlan", "geneve", "ip6gretap", "gretap"})


@dataclass(frozen=True)
class Standing:
    """What was reached by the last apply, and is to stay."""

    name: str
    index: int
    mtu: int
    addresses: tuple[Interface, ...]
    underlay: dict[str, tuple[int, int]]  # name: index, MTU


class Links:
    """Requests for one device. They block; rtnetlink's errors come through."""

    def __init__(self, route: Rtnetlink) -> None:
        self._route = route

    def find(self, name: str, index: int, kind: str) -> Link | None:
        """Our link by its last known index, as it may have been renamed; else by name."""
        link = self._route.link(index) if index else None
        return link if link and link.kind == kind else self._route.link(name)

    def addresses(self, index: int) -> dict[Interface, bool]:
        """The addresses, and whether each is marked as ours."""
        found = self._route.addresses(index)
        return {address.interface: address.protocol == PROTOCOL for address in found}

    def connected(self, index: int) -> tuple[Network, ...]:
        """Connected routes: straight to the link, without a gateway."""
        return tuple(
            route.destination
            for version in (4, 6)
            for route in self._route.routes(index, version=version)
            if not route.gateway
        )

    def perform(self, index: int, operation: LinkOperation) -> None:
        match operation:
            case Mark():
                self._route.change_link(index, alias=OURS, group=0, no_link_local=True)
            case Rename():
                self._route.change_link(index, up=False)
                self._route.change_link(index, name=operation.new)
            case SetMtu(mtu):
                self._route.change_link(index, mtu=mtu)
            case SetUp():
                self._route.change_link(index, up=True)
            case AddAddress(address):
                if address not in self.addresses(index):
                    self._route.add_address(index, address, protocol=PROTOCOL)
            case RemoveAddress(address):
                self._route.delete_address(index, address)
            case RestoreRoute(address):
                self._route.add_route(_connected_route(index, address))

    def underlay(self, desired: DesiredDevice, index: int) -> dict[str, tuple[int, int]]:
        """Index and MTU of the interfaces that carry WireGuard's packets, by name."""
        return {
            link.name: (link.index, link.mtu)
            for link in self._route.links()
            if link.index != index and _carries(link, desired.underlay)
        }

    def deviations(self, standing: Standing, desired: DesiredDevice) -> Iterator[str]:
        """What others changed since, as sentences for people."""
        link = self._route.link(standing.index)
        if link is None:
            yield f"{standing.name} was deleted, or moved to another network namespace"
            return
        if link.name != standing.name:
            yield f"{standing.name} was renamed to {link.name}"
        if not link.up:
            yield f"{standing.name} was set down"
            return
        if link.mtu != standing.mtu:
            yield f"the MTU of {standing.name} was changed to {link.mtu}"
        if link.alias != OURS:
            yield f"the alias {OURS} was taken from {standing.name}"
        if link.link_local:
            yield f"{standing.name} was told to get a link-local address"
        present, connected = self.addresses(link.index), self.connected(link.index)
        for address in standing.addresses:
            if address not in present:
                yield f"the address {address} was taken from {standing.name}"
            elif has_connected_route(address) and address.network not in connected:
                yield f"the route to {address.network} was taken from {standing.name}"
        underlay = self.underlay(desired, standing.index)
        if underlay_mtu(underlay) != underlay_mtu(standing.underlay) and not desired.mtu:
            yield f"the underlay allows an MTU of {underlay_mtu(underlay)} now"
        for name, (number, _) in underlay.items():
            if name in standing.underlay and standing.underlay[name][0] != number:
                yield f"the underlay interface {name} was made anew"


def _connected_route(index: int, address: Interface) -> Route:
    """As the kernel's own, so that it goes with the address."""
    four = address.version == 4
    return Route(
        address.network,
        index,
        RT_TABLE_MAIN,
        RTPROT_KERNEL,
        metric=0 if four else _CONNECTED_METRIC,
        source=str(address.ip) if four else "",
    )


def underlay_mtu(underlay: dict[str, tuple[int, int]], path: int = 0) -> int:
    """The MTU for the device, given its underlay and the smallest one of paths beyond the link."""
    allowed = [mtu for _, mtu in underlay.values()] + ([path] if path else [])
    return max(min(allowed) - WIREGUARD_OVERHEAD, MIN_MTU) if allowed else _DEFAULT_MTU


def _carries(link: Link, names: tuple[str, ...]) -> bool:
    if names:
        return link.name in names
    tunnel = link.kind in _TUNNEL_KINDS or link.hardware_type in _TUNNEL_TYPES
    return link.up and not tunnel and not link.flags & IFF_LOOPBACK
