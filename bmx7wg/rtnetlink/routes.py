"""Routes and policy rules as rtnetlink has them: values, and the messages that carry them.

The messages are packed here, not by pyroute2, whose classes take 0.2 ms for each: a thousand
routes would be 0.3 s instead of 10 ms. Layouts and numbers: linux/rtnetlink.h, linux/fib_rules.h.
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from ..netlink import F_CREATE, F_EXCL, Request, attributes

RTM_GETROUTE: Final = 26
RTM_GETRULE: Final = 34
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_RTM_NEWRULE, _RTM_DELRULE = 32, 33
RT_TABLE_MAIN: Final = 254
RTPROT_KERNEL: Final = 2
RTPROT_STATIC: Final = 4

_RTN_UNICAST: Final = 1
_RTN_LOCAL: Final = 2
_RT_SCOPE_UNIVERSE: Final = 0
_RT_SCOPE_LINK: Final = 253
_RT_SCOPE_NOWHERE: Final = 255  # in a deletion: of any scope
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC = 1, 4, 5, 6, 7
_RTA_METRICS, _RTA_MULTIPATH, _RTA_CACHEINFO, _RTA_TABLE, _RTA_MARK, _RTA_VIA = 8, 9, 12, 15, 16, 18
_RTAX_MTU: Final = 2
_FR_ACT_TO_TBL: Final = 1
_FIB_RULE_INVERT: Final = 0x2
_FRA_PRIORITY, _FRA_FWMARK, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE = 6, 10, 14, 15
_FRA_FWMASK, _FRA_PAD, _FRA_PROTOCOL = 16, 18, 21
_KNOWN_OF_RULES: Final = {
    *(_FRA_PRIORITY, _FRA_FWMARK, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE),
    *(_FRA_FWMASK, _FRA_PAD, _FRA_PROTOCOL),
}
_ALL_BITS: Final = 0xFFFFFFFF

# struct rtmsg: family, length of destination and source, tos, table, protocol, scope, type, flags;
# struct fib_rule_hdr: family, length of destination and source, tos, table, two unused, action,
# flags.
_HEAD: Final = struct.Struct("=8BI")
PROTOCOL_OFFSET: Final = 5  # in struct rtmsg
_NUMBER: Final = struct.Struct("=HHI")  # an attribute of 32 bits
_BYTE: Final = struct.Struct("=HHB3x")
_HEADING: Final = struct.Struct("=HH")
_CACHE_INFO: Final = struct.Struct("=IIi")  # struct rta_cacheinfo, to the expiry in clock ticks
_NEXT_HOP: Final = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, interface index

FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True)
class Route:
    """A unicast route straight to a link, or through a gateway.

    Of a route over several links, the first one is told.
    """

    destination: IPv4Network | IPv6Network
    index: int  # of the link that it leads to
    table: int = RT_TABLE_MAIN
    protocol: int = RTPROT_STATIC  # RTPROT_*
    metric: int = 0  # 0: the kernel's own choice
    gateway: str = ""
    source: str = ""  # the address that packets get by default; empty: the kernel's own choice
    local: bool = False  # to an address of our own


@dataclass(frozen=True)
class Rule:
    """A policy rule (ip-rule(8)): ``[not] fwmark MARK lookup TABLE suppress_prefixlength N``."""

    version: int  # of IP
    priority: int
    table: int
    mark: int = 0  # 0: none is looked at
    inverted: bool = False  # for packets that don't have the mark
    suppress: int = -1  # routes of at most this prefix length don't count; -1: all do
    protocol: int = RTPROT_STATIC  # RTPROT_*


@dataclass(frozen=True)
class Path:
    """The way of packets to an address."""

    index: int  # of the link
    mtu: int  # bytes; 0: that of the link
    learnt: bool  # the MTU was told by a router, and is forgotten after a while


def add_route(route: Route) -> Request:
    """EEXIST if there is one, of anybody, with the same prefix, metric and table."""
    scope = _RT_SCOPE_UNIVERSE if route.gateway else _RT_SCOPE_LINK  # IPv6 has none
    return Request(_RTM_NEWROUTE, _encode_route(route, scope), F_CREATE | F_EXCL)


def delete_route(route: Route) -> Request:
    """ESRCH if there is none with all that is given, its protocol among it."""
    return Request(_RTM_DELROUTE, _encode_route(route, _RT_SCOPE_NOWHERE))


def add_rule(rule: Rule) -> Request:
    """EEXIST if there is one that is equal."""
    return Request(_RTM_NEWRULE, _encode_rule(rule), F_CREATE | F_EXCL)


def delete_rule(rule: Rule) -> Request:
    """ENOENT if there is none with all that is given, its protocol among it."""
    return Request(_RTM_DELRULE, _encode_rule(rule))


def encode_filter(version: int, *, index: int = 0, table: int = 0, protocol: int = 0) -> bytes:
    """What a dump of unicast routes is asked for; 0: of all."""
    head = _HEAD.pack(FAMILIES[version], 0, 0, 0, 0, protocol, 0, _RTN_UNICAST, 0)
    return head + _number(_RTA_TABLE, table) + _number(_RTA_OIF, index)


def encode_lookup(address: IPv4Address | IPv6Address, mark: int) -> bytes:
    """What the kernel is asked for the way of packets to an address, with a firewall mark."""
    head = _HEAD.pack(FAMILIES[address.version], address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    return head + _address(_RTA_DST, address.packed) + _number(_RTA_MARK, mark)


def decode_path(body: bytes) -> Path:
    """The answer to `encode_lookup`."""
    found = dict(attributes(body, _HEAD.size))
    metrics = dict(attributes(found.get(_RTA_METRICS, b"")))
    cached = found.get(_RTA_CACHEINFO, bytes(_CACHE_INFO.size))
    _, _, expires = _CACHE_INFO.unpack_from(cached)
    return Path(
        index=_integer(found.get(_RTA_OIF, b"")),
        mtu=_integer(metrics.get(_RTAX_MTU, b"")),
        learnt=expires != 0 and _RTAX_MTU in metrics,
    )


def encode_rule_dump(version: int) -> bytes:
    return _HEAD.pack(FAMILIES[version], 0, 0, 0, 0, 0, 0, 0, 0)


def decode_route(body: bytes) -> Route | None:
    """None for what is neither unicast nor local, or leads to no link."""
    family, length, _, _, table, protocol, _, kind, _ = _HEAD.unpack_from(body)
    if kind not in (_RTN_UNICAST, _RTN_LOCAL) or family not in FAMILIES.values():
        return None
    found = dict(attributes(body, _HEAD.size))
    index = _integer(found.get(_RTA_OIF, b""))
    if not index and _RTA_MULTIPATH in found:
        _, _, _, index = _NEXT_HOP.unpack_from(found[_RTA_MULTIPATH])
    if not index:
        return None
    gateway = found.get(_RTA_GATEWAY) or found.get(_RTA_VIA, b"")[2:]
    return Route(
        destination=_network(family, found.get(_RTA_DST, b""), length),
        index=index,
        table=_integer(found.get(_RTA_TABLE, b"")) or table,
        protocol=protocol,
        metric=_integer(found.get(_RTA_PRIORITY, b"")),
        gateway=_text(gateway),
        source=_text(found.get(_RTA_PREFSRC, b"")),
        local=kind == _RTN_LOCAL,
    )


def decode_rule(body: bytes) -> Rule | None:
    """None for a rule that asks for, or does, something that `Rule` has no word for."""
    family, to, whence, tos, table, _, _, action, flags = _HEAD.unpack_from(body)
    found = dict(attributes(body, _HEAD.size))
    mask = _integer(found.get(_FRA_FWMASK, b""))
    plain = action == _FR_ACT_TO_TBL and not (to or whence or tos)
    if not plain or not found.keys() <= _KNOWN_OF_RULES or mask not in (0, _ALL_BITS):
        return None
    (suppress,) = struct.unpack("=i", found.get(_FRA_SUPPRESS_PREFIXLEN, b"\xff" * 4))
    return Rule(
        version=6 if family == socket.AF_INET6 else 4,
        priority=_integer(found.get(_FRA_PRIORITY, b"")),
        table=_integer(found.get(_FRA_TABLE, b"")) or table,
        mark=_integer(found.get(_FRA_FWMARK, b"")),
        inverted=bool(flags & _FIB_RULE_INVERT),
        suppress=suppress,
        protocol=_integer(found.get(_FRA_PROTOCOL, b"")),
    )


def _encode_route(route: Route, scope: int) -> bytes:
    prefix = route.destination
    family = FAMILIES[prefix.version]
    parts = [
        _HEAD.pack(family, prefix.prefixlen, 0, 0, 0, route.protocol, scope, _RTN_UNICAST, 0),
        _number(_RTA_TABLE, route.table),
        _number(_RTA_OIF, route.index),
        _number(_RTA_PRIORITY, route.metric),
    ]
    if prefix.prefixlen:
        parts.append(_address(_RTA_DST, prefix.network_address.packed))
    if route.gateway:
        parts.append(_address(_RTA_GATEWAY, socket.inet_pton(family, route.gateway)))
    if route.source:
        parts.append(_address(_RTA_PREFSRC, socket.inet_pton(family, route.source)))
    return b"".join(parts)


def _encode_rule(rule: Rule) -> bytes:
    flags = _FIB_RULE_INVERT if rule.inverted else 0
    parts = [
        _HEAD.pack(FAMILIES[rule.version], 0, 0, 0, 0, 0, 0, _FR_ACT_TO_TBL, flags),
        _number(_FRA_TABLE, rule.table),
        _number(_FRA_PRIORITY, rule.priority),
        _BYTE.pack(_HEADING.size + 1, _FRA_PROTOCOL, rule.protocol),
    ]
    if rule.mark:
        parts += _number(_FRA_FWMARK, rule.mark), _number(_FRA_FWMASK, _ALL_BITS)
    if rule.suppress != -1:
        parts.append(_number(_FRA_SUPPRESS_PREFIXLEN, rule.suppress, always=True))
    return b"".join(parts)


def _number(kind: int, value: int, *, always: bool = False) -> bytes:
    """An attribute; none at all for 0, which is what the kernel takes in its absence."""
    return _NUMBER.pack(_NUMBER.size, kind, value) if value or always else b""


def _address(kind: int, packed: bytes) -> bytes:
    return _HEADING.pack(_HEADING.size + len(packed), kind) + packed


def _integer(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def _text(packed: bytes) -> str:
    if not packed:
        return ""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _network(family: int, packed: bytes, length: int) -> IPv4Network | IPv6Network:
    if family == socket.AF_INET:
        return IPv4Network((packed or bytes(4), length))
    return IPv6Network((packed or bytes(16), length))
