"""From the device as it is to the device as it should be: an ordered list of operations.

Additions come before deletions, so nothing that stays is ever without its way. An allowed IP
given to another peer moves there by itself (it is one trie), so it is only ever deleted where
nobody else takes it. A route comes after the allowed IP that it leads to, and goes before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

from .model import ActualDevice, DesiredDevice, DesiredRoute, Interface
from .operations import (
    AddAddress,
    AddRoute,
    AddRule,
    MakeDevice,
    Mark,
    Operation,
    RemoveAddress,
    RemoveRoute,
    RemoveRule,
    Rename,
    RestoreRoute,
    RouteOperation,
    SetDevice,
    SetMtu,
    SetUp,
)
from .planmemory import Memory
from .planpeers import PeerOperation, RemovePeer, changed, plan_peers

_NO_KEY: Final = bytes(32)
_IPV6_METRIC: Final = 1024


def plan(
    desired: DesiredDevice,
    actual: ActualDevice | None,
    now: int,
    memory: Memory,
) -> tuple[Operation, ...]:
    """The operations that lead from *actual* to *desired*; none if it is there already.

    *now* is wall time in ns, as the handshakes in *actual* are. *memory* is that of this device; it
    is to be told what became of the plan. An MTU of 0 is left alone.
    """
    peers = actual.peers if actual else {}
    operations: list[Operation] = []
    operations += _device(desired, actual)
    changes = tuple(plan_peers(desired.peers, peers, now, memory))
    operations += (change for change in changes if not _takes(change))
    extra = _extra_addresses(desired, actual) if actual else ()
    operations += map(RemoveAddress, extra)
    operations += _routes(desired, actual, extra)
    operations += (change for change in changes if _takes(change))
    return tuple(operations)


def _extra_addresses(desired: DesiredDevice, actual: ActualDevice) -> tuple[Interface, ...]:
    return tuple(
        address
        for address in actual.addresses
        if address not in desired.addresses and _is_extra(address, desired, actual)
    )


def _is_extra(address: Interface, desired: DesiredDevice, actual: ActualDevice) -> bool:
    """Whether an address is a former one of ours, or one that came by itself.

    An administrator may add others: a routing daemon on the device needs a link-local one.
    """
    if address in actual.own_addresses or (address.is_link_local and not actual.marked):
        return True
    return any(address.network == other.network for other in desired.addresses)


def _device(desired: DesiredDevice, actual: ActualDevice | None) -> Iterator[Operation]:
    if actual is None:
        yield MakeDevice(desired.name)
        yield SetDevice(
            private_key=desired.private_key,
            listen_port=desired.listen_port,
            firewall_mark=desired.firewall_mark,
        )
    else:
        if not actual.marked:
            yield Mark()
        if actual.name != desired.name:
            yield Rename(actual.name, desired.name)
        change = SetDevice(
            private_key=changed(_clamped(desired.private_key), _clamped(actual.private_key)),
            listen_port=changed(desired.listen_port, actual.listen_port),
            firewall_mark=changed(desired.firewall_mark, actual.firewall_mark),
        )
        if change != SetDevice():
            yield change
    if desired.mtu and (actual is None or desired.mtu != actual.mtu):
        yield SetMtu(desired.mtu)
    standing = actual is not None and actual.up and actual.name == desired.name
    if not standing:
        yield SetUp()
    for address in desired.addresses:
        if actual is None or not standing or address not in actual.addresses:
            yield AddAddress(address)
        elif has_connected_route(address) and address.network not in actual.connected:
            yield RestoreRoute(address)


def has_connected_route(address: Interface) -> bool:
    """IPv4 has none for a network of one address."""
    return address.version == 6 or address.network.prefixlen < address.max_prefixlen


def _takes(change: PeerOperation) -> bool:
    """Whether it only takes allowed IPs away."""
    return isinstance(change, RemovePeer) or change.only_these


def _routes(
    desired: DesiredDevice, actual: ActualDevice | None, removed: Collection[Interface]
) -> Iterator[RouteOperation]:
    """Rules come after and go before the routes of their tables."""
    present = _left_routes(desired, actual, removed) if actual else ()
    rules = actual.rules if actual else ()
    wanted = {as_kept(route): None for route in desired.routes}
    there, stay = set(present), set(desired.rules)
    yield from (AddRoute(route) for route in wanted if route not in there)
    yield from (AddRule(rule) for rule in dict.fromkeys(desired.rules) if rule not in rules)
    yield from (RemoveRule(rule) for rule in rules if rule not in stay)
    yield from (RemoveRoute(route) for route in present if route not in wanted)


def _left_routes(
    desired: DesiredDevice, actual: ActualDevice, removed: Collection[Interface]
) -> tuple[DesiredRoute, ...]:
    """The routes that the device still has, once it is up and the *removed* addresses are gone.

    All of them go when it goes down; those of IPv4 also with its last IPv4 address. The kernel
    tells of neither (fib_disable_ip).
    """
    if not actual.up or actual.name != desired.name:
        return ()
    kept = {*actual.addresses, *desired.addresses}.difference(removed)
    if any(a.version == 4 for a in removed) and not any(a.version == 4 for a in kept):
        return tuple(route for route in actual.routes if route.prefix.version == 6)
    return actual.routes


def as_kept(route: DesiredRoute) -> DesiredRoute:
    """A route as the kernel keeps it: of IPv6, none has the metric 0 (IP6_RT_PRIO_USER)."""
    default = route.prefix.version == 6 and route.metric == 0
    return replace(route, metric=_IPV6_METRIC) if default else route


def _clamped(key: bytes) -> bytes:
    """An X25519 private key as a device stores it (RFC 7748 5); no key at all stays that."""
    if len(key) != len(_NO_KEY) or key == _NO_KEY:
        return _NO_KEY
    return bytes([key[0] & 248]) + key[1:31] + bytes([key[31] & 127 | 64])
