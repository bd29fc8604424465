"""What is asked of the kernel about links, addresses, routes and rules, and done to them."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Final

from ..netlink import F_CREATE, F_DUMP, F_EXCL, Netlink, NetlinkError
from .events import Events, Group
from .links import (
    ADDR_GEN_MODE_NONE,
    IFA_F_NODAD,
    IFF_UP,
    Address,
    Interface,
    Link,
    decode_address,
    decode_link,
    encode_address,
    encode_addresses_dump,
    encode_link,
)
from .netconf import RTM_GETNETCONF, decode_netconf, encode_question
from .routes import (
    RT_TABLE_MAIN,
    RTM_GETROUTE,
    RTM_GETRULE,
    Path,
    Route,
    Rule,
    add_route,
    decode_path,
    decode_route,
    decode_rule,
    delete_route,
    encode_filter,
    encode_lookup,
    encode_rule_dump,
)

# linux/rtnetlink.h
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 17, 18, 19
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_NO_COUNTERS: Final = {"IFLA_EXT_MASK": 1 << 3}  # RTEXT_FILTER_SKIP_STATS

# linux/if_link.h
_IFLA_TARGET_NETNSID: Final = 46


class Rtnetlink(Netlink):
    """Requests for links, addresses, routes and rules in the current network namespace."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)

    def links(self) -> list[Link]:
        return [
            decode_link(b) for b in self.request(_RTM_GETLINK, encode_link(_NO_COUNTERS), F_DUMP)
        ]

    def link(self, which: str | int) -> Link | None:
        """A link by name or index, None if there is none."""
        name = {"IFLA_IFNAME": which} if isinstance(which, str) else {}
        index = 0 if isinstance(which, str) else which
        try:
            replies = self.request(_RTM_GETLINK, encode_link(name | _NO_COUNTERS, index=index))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return decode_link(replies[0])

    def add_link(self, name: str, kind: str, *, group: int = 0) -> None:
        """Make a link, down. Raises NetlinkError EEXIST, or EOPNOTSUPP for a kind unknown."""
        info = {"attrs": [("IFLA_INFO_KIND", kind)]}
        body = encode_link({"IFLA_IFNAME": name, "IFLA_GROUP": group, "IFLA_LINKINFO": info})
        self.request(_RTM_NEWLINK, body, F_CREATE | F_EXCL)

    def change_link(
        self,
        index: int,
        *,
        up: bool | None = None,
        mtu: int = 0,
        name: str = "",
        alias: str = "",
        group: int | None = None,
        no_link_local: bool = False,
    ) -> None:
        """Change what is given; *no_link_local*: it gets no fe80:: address when it goes up."""
        words: dict[str, Any] = {}
        if mtu:
            words["IFLA_MTU"] = mtu
        if name:
            words["IFLA_IFNAME"] = name
        if alias:
            words["IFLA_IFALIAS"] = alias
        if group is not None:
            words["IFLA_GROUP"] = group
        if no_link_local:
            mode = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", ADDR_GEN_MODE_NONE)]}
            words["IFLA_AF_SPEC"] = {"attrs": [("AF_INET6", mode)]}
        flags = IFF_UP if up else 0
        change = 0 if up is None else IFF_UP
        self.request(_RTM_SETLINK, encode_link(words, index=index, flags=flags, change=change))

    def delete_link(self, index: int, *, namespace: int | None = None) -> None:
        """Delete a link here, or in another namespace (see `Event`)."""
        body = encode_link(index=index)
        if namespace is not None:  # pyroute2 has no word for it
            body += struct.pack("=HHi", 8, _IFLA_TARGET_NETNSID, namespace)
        self.request(_RTM_DELLINK, body)

    def addresses(self, index: int = 0) -> list[Address]:
        """The addresses of a link, or of all."""
        replies = self.request(_RTM_GETADDR, encode_addresses_dump(index), F_DUMP)
        return [decode_address(body) for body in replies]

    def add_address(self, index: int, interface: Interface, *, protocol: int = 0) -> None:
        """Add an address and return once packets to it are accepted.

        An IPv6 address gets no duplicate address detection (RFC 4862 5.4). Even so the kernel
        makes its local route later, in a work queue.
        """
        flags = IFA_F_NODAD if interface.version == 6 else 0
        events = Events(Group.IPV6_ROUTE)
        try:
            body = encode_address(index, interface, flags, protocol)
            self.request(_RTM_NEWADDR, body, F_CREATE | F_EXCL)
            if isinstance(interface, IPv6Interface):
                events.wait_for_local_route(index, IPv6Network(interface.ip))
        finally:
            events.close()

    def delete_address(self, index: int, interface: Interface) -> None:
        self.request(_RTM_DELADDR, encode_address(index, interface))

    def routes(
        self,
        index: int = 0,
        *,
        version: int = 6,
        table: int = RT_TABLE_MAIN,
        protocol: int = 0,
        most: int | None = None,
    ) -> list[Route]:
        """The unicast routes of a table; of one link, of one protocol. 0: of all.

        A table or a link that there is not has no routes. *most* bounds the memory that one takes.
        """
        body = encode_filter(version, index=index, table=table, protocol=protocol)
        try:
            replies = self.request(RTM_GETROUTE, body, F_DUMP, most)
        except NetlinkError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return []
            raise
        routes = (decode_route(reply) for reply in replies)
        return [route for route in routes if route is not None]

    def path(self, address: IPv4Address | IPv6Address, mark: int = 0) -> Path:
        """The way to an address for packets with a firewall mark; NetlinkError without any."""
        return decode_path(self.request(RTM_GETROUTE, encode_lookup(address, mark))[0])

    def add_route(self, route: Route) -> None:
        self.request(*add_route(route))

    def delete_route(self, route: Route) -> None:
        self.request(*delete_route(route))

    def rules(self, version: int) -> list[Rule]:
        """The rules that `Rule` has words for."""
        rules = map(decode_rule, self.request(RTM_GETRULE, encode_rule_dump(version), F_DUMP))
        return [rule for rule in rules if rule is not None]

    def forwarding(self) -> frozenset[int]:
        """The IP versions of which packets are forwarded."""
        replies = (self.request(RTM_GETNETCONF, encode_question(version))[0] for version in (4, 6))
        told = map(decode_netconf, replies)
        return frozenset(found.version for found in told if found is not None and found.on)
