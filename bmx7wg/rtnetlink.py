"""Links, addresses, routes and their events: the one entry to pyroute2.

Importing the package ``pyroute2`` loads every client that it ships: 280 to 420 modules, 130 to
230 ms, 16 MB. Only its message classes are wanted here (25 ms, 1.7 MB); the socket beneath, which
the WireGuard family shares, is small. The classes are the same in 0.7.2 (Debian 12) and 0.7.7
(Debian 13).

All calls block for as long as the kernel takes: microseconds, or as long as another process
holds the kernel's rtnl lock. An event loop calls them in a thread, except for `Events`.
"""

from __future__ import annotations

import errno
import importlib.util
import select
import socket
import sys
import time
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from typing import Any, Final

from .netlink import (
    ADD_MEMBERSHIP,
    F_CREATE,
    F_DUMP,
    F_EXCL,
    F_REPLACE,
    HEADER,
    RECEIVE,
    SOL_NETLINK,
    Netlink,
    NetlinkError,
    Overrun,
    messages,
)


def _load_message_classes() -> tuple[Any, Any, Any]:
    """pyroute2's ifinfmsg, ifaddrmsg and rtmsg, without running the package's ``__init__``.

    A package object that was not executed stands in for ``pyroute2`` while its submodules load,
    and leaves afterwards: a full ``import pyroute2`` elsewhere in the process still works.
    """
    stand_in = None
    if "pyroute2" not in sys.modules:
        spec = importlib.util.find_spec("pyroute2")
        if spec is None:
            raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
        stand_in = sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)
    try:
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
        from pyroute2.netlink.rtnl.rtmsg import rtmsg
    finally:
        if stand_in is not None:
            del sys.modules["pyroute2"]
    return ifinfmsg, ifaddrmsg, rtmsg


_ifinfmsg, _ifaddrmsg, _rtmsg = _load_message_classes()

# linux/rtnetlink.h
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 17, 18, 19
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_RTN_UNICAST: Final = 1
_RTN_LOCAL: Final = 2
RT_TABLE_MAIN: Final = 254
_RT_SCOPE_UNIVERSE: Final = 0
_RT_SCOPE_LINK: Final = 253
RTPROT_KERNEL: Final = 2
RTPROT_STATIC: Final = 4
_PROTOCOL_OFFSET: Final = 5  # in struct rtmsg

# linux/if.h, linux/if_addr.h, linux/if_link.h
IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_MULTICAST: Final = 0x1000
IFF_LOWER_UP: Final = 0x10000
IFA_F_NODAD: Final = 0x02
IFA_F_DADFAILED: Final = 0x08
IFA_F_TENTATIVE: Final = 0x40
_ADDR_GEN_MODE_NONE: Final = 1

_LOCAL_ROUTE_WAIT: Final = 1.0  # s


class Rtnetlink(Netlink):
    """Requests for links, addresses and routes in the current network namespace."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)

    def links(self) -> list[Link]:
        return [_link(b) for b in self.request(_RTM_GETLINK, _encode(_ifinfmsg), F_DUMP)]

    def link(self, which: str | int) -> Link | None:
        """A link by name or index, None if there is none."""
        attributes = {"IFLA_IFNAME": which} if isinstance(which, str) else {}
        index = 0 if isinstance(which, str) else which
        try:
            replies = self.request(_RTM_GETLINK, _encode(_ifinfmsg, attributes, index=index))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return _link(replies[0])

    def add_link(self, name: str, kind: str) -> None:
        """Make a link, down. Raises NetlinkError EEXIST, or EOPNOTSUPP for a kind unknown."""
        info = {"attrs": [("IFLA_INFO_KIND", kind)]}
        body = _encode(_ifinfmsg, {"IFLA_IFNAME": name, "IFLA_LINKINFO": info})
        self.request(_RTM_NEWLINK, body, F_CREATE | F_EXCL)

    def change_link(
        self,
        index: int,
        *,
        up: bool | None = None,
        mtu: int = 0,
        name: str = "",
        alias: str = "",
        no_link_local: bool = False,
    ) -> None:
        """Change what is given; *no_link_local*: it gets no fe80:: address when it goes up."""
        attributes: dict[str, Any] = {}
        if mtu:
            attributes["IFLA_MTU"] = mtu
        if name:
            attributes["IFLA_IFNAME"] = name
        if alias:
            attributes["IFLA_IFALIAS"] = alias
        if no_link_local:
            mode = {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_MODE_NONE)]}
            attributes["IFLA_AF_SPEC"] = {"attrs": [("AF_INET6", mode)]}
        flags = IFF_UP if up else 0
        change = 0 if up is None else IFF_UP
        self.request(
            _RTM_SETLINK, _encode(_ifinfmsg, attributes, index=index, flags=flags, change=change)
        )

    def delete_link(self, index: int) -> None:
        self.request(_RTM_DELLINK, _encode(_ifinfmsg, index=index))

    def addresses(self, index: int = 0) -> list[Address]:
        """The addresses of a link, or of all."""
        replies = self.request(_RTM_GETADDR, _encode(_ifaddrmsg, index=index), F_DUMP)
        return [_address(body) for body in replies]

    def add_address(self, index: int, interface: Interface) -> None:
        """Add an address and return once packets to it are accepted.

        An IPv6 address gets no duplicate address detection (RFC 4862 5.4). Even so the kernel
        makes its local route later, in a work queue.
        """
        flags = IFA_F_NODAD if interface.version == 6 else 0
        events = Events(Group.IPV6_ROUTE)
        try:
            body = _encode_address(index, interface, flags)
            self.request(_RTM_NEWADDR, body, F_CREATE | F_EXCL)
            if isinstance(interface, IPv6Interface):
                events.wait_for_local_route(index, IPv6Network(interface.ip))
        finally:
            events.close()

    def delete_address(self, index: int, interface: Interface) -> None:
        self.request(_RTM_DELADDR, _encode_address(index, interface, 0))

    def routes(self, index: int = 0, *, version: int = 6) -> list[Route]:
        """The unicast routes of the main table through a link, or of all."""
        attributes: dict[str, Any] = {"RTA_TABLE": RT_TABLE_MAIN}
        if index:
            attributes["RTA_OIF"] = index
        body = _encode(_rtmsg, attributes, family=_family(version))
        routes = (_route(body) for body in self.request(_RTM_GETROUTE, body, F_DUMP))
        return [route for route in routes if route is not None]

    def add_route(self, route: Route) -> None:
        self.request(_RTM_NEWROUTE, _encode_route(route), F_CREATE | F_REPLACE)

    def delete_route(self, route: Route) -> None:
        self.request(_RTM_DELROUTE, _encode_route(route))


class Group(IntEnum):
    """What `Events` may tell of (linux/rtnetlink.h, RTNLGRP_*); of routes the connected ones."""

    LINK = 1
    IPV4_ADDRESS = 5
    IPV4_ROUTE = 7
    IPV6_ADDRESS = 9
    IPV6_ROUTE = 11


class Events:
    """Changes as they happen: watch ``fileno()`` for reading, then `get` until it is empty."""

    def __init__(self, *groups: Group) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def wait_for_local_route(self, index: int, destination: IPv6Network) -> None:
        """Until it is there, or for 1 s: on a link without carrier it is not made."""
        deadline = time.monotonic() + _LOCAL_ROUTE_WAIT
        while (left := deadline - time.monotonic()) > 0:
            select.select([self], [], [], left)
            for event in self.get():
                route = event.subject
                if isinstance(route, Route) and route.local and not event.gone:
                    if (route.index, route.destination) == (index, destination):
                        return

    def get(self) -> list[Event]:
        """The next events, empty if there are none now; raises Overrun when some were lost."""
        while True:
            try:
                data, (sender, _) = self._socket.recvfrom(RECEIVE)
            except BlockingIOError:
                return []
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise Overrun from None
                raise
            # Any process may send to this socket; only the kernel has port id 0.
            events = [] if sender else [_event(*message) for message in messages(data)]
            if known := [event for event in events if event is not None]:
                return known


# -- what the messages say ------------------------------------------------------------------

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True)
class Link:
    index: int
    name: str
    flags: int  # IFF_*
    mtu: int
    kind: str = ""  # "veth", "bridge", "tun", "wireguard"; empty: hardware, loopback
    hardware_type: int = 0  # ARPHRD_*: 1 Ethernet, 65534 none
    master: int = 0  # index of the bridge or the like that it is part of
    alias: str = ""  # a text for people

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def carrier(self) -> bool:
        return bool(self.flags & IFF_LOWER_UP)


@dataclass(frozen=True)
class Address:
    index: int  # of its link
    interface: Interface
    flags: int = 0  # IFA_F_*

    @property
    def usable(self) -> bool:
        """Whether one can bind to it now: duplicate address detection is done."""
        return not self.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)


@dataclass(frozen=True)
class Route:
    """A route straight to a link, or through a gateway (text, else empty)."""

    destination: IPv4Network | IPv6Network
    index: int  # of the link that it leads to
    table: int = RT_TABLE_MAIN
    protocol: int = RTPROT_STATIC  # RTPROT_*
    metric: int = 0  # 0: the kernel's own choice
    gateway: str = ""
    local: bool = False  # to an address of our own


@dataclass(frozen=True)
class Event:
    """One change; *gone*: deleted, else new or changed."""

    subject: Link | Address | Route
    gone: bool


def _encode(message_class: Any, attributes: dict[str, Any] | None = None, **fields: int) -> bytes:
    message = message_class()
    for field, value in fields.items():
        message[field] = value
    message["attrs"] = list((attributes or {}).items())
    message.encode()
    return bytes(message.data[HEADER.size :])


def _decode(message_class: Any, body: bytes) -> Any:
    header = HEADER.pack(HEADER.size + len(body), 0, 0, 0, 0)
    message = message_class(header + body)
    message.decode()
    return message


def _family(version: int) -> int:
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def _encode_address(index: int, interface: Interface, flags: int) -> bytes:
    return _encode(
        _ifaddrmsg,
        {"IFA_LOCAL": str(interface.ip), "IFA_ADDRESS": str(interface.ip), "IFA_FLAGS": flags},
        family=_family(interface.version),
        prefixlen=interface.network.prefixlen,
        index=index,
    )


def _encode_route(route: Route) -> bytes:
    attributes: dict[str, Any] = {"RTA_TABLE": route.table, "RTA_OIF": route.index}
    if route.destination.prefixlen:
        attributes["RTA_DST"] = str(route.destination.network_address)
    if route.gateway:
        attributes["RTA_GATEWAY"] = route.gateway
    if route.metric:
        attributes["RTA_PRIORITY"] = route.metric
    return _encode(
        _rtmsg,
        attributes,
        family=_family(route.destination.version),
        dst_len=route.destination.prefixlen,
        proto=route.protocol,
        scope=_RT_SCOPE_UNIVERSE if route.gateway else _RT_SCOPE_LINK,  # IPv6 has none
        type=_RTN_UNICAST,
    )


def _link(body: bytes) -> Link:
    message = _decode(_ifinfmsg, body)
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME") or "",
        flags=message["flags"],
        mtu=message.get_attr("IFLA_MTU") or 0,
        kind=(info.get_attr("IFLA_INFO_KIND") if info else None) or "",
        hardware_type=message["ifi_type"],
        master=message.get_attr("IFLA_MASTER") or 0,
        alias=message.get_attr("IFLA_IFALIAS") or "",
    )


def _address(body: bytes) -> Address:
    message = _decode(_ifaddrmsg, body)
    # On a point-to-point link IFA_ADDRESS is the other end, IFA_LOCAL is ours.
    own = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    flags = message.get_attr("IFA_FLAGS")
    return Address(
        index=message["index"],
        interface=ip_interface(f"{own}/{message['prefixlen']}"),
        flags=message["flags"] if flags is None else flags,
    )


def _route(body: bytes) -> Route | None:
    message = _decode(_rtmsg, body)
    index = message.get_attr("RTA_OIF")
    if message["type"] not in (_RTN_UNICAST, _RTN_LOCAL) or index is None:
        return None
    zero = "::" if message["family"] == socket.AF_INET6 else "0.0.0.0"
    destination = message.get_attr("RTA_DST") or zero
    return Route(
        destination=ip_network(f"{destination}/{message['dst_len']}"),
        index=index,
        table=message.get_attr("RTA_TABLE") or message["table"],
        protocol=message["proto"],
        metric=message.get_attr("RTA_PRIORITY") or 0,
        gateway=message.get_attr("RTA_GATEWAY") or "",
        local=message["type"] == _RTN_LOCAL,
    )


def _event(kind: int, flags: int, sequence: int, body: bytes) -> Event | None:
    gone = kind in (_RTM_DELLINK, _RTM_DELADDR, _RTM_DELROUTE)
    what = kind - 1 if gone else kind
    if what == _RTM_NEWLINK:
        link = _link(body)
        # A bridge tells of its ports in a family of its own, where "deleted" means "no port now";
        # Wi-Fi tells of scans in messages that lack nearly all (net/wireless/wext-core.c).
        return Event(link, gone) if body[0] == socket.AF_UNSPEC and link.mtu else None
    if what == _RTM_NEWADDR:
        return Event(_address(body), gone)
    # A routing daemon's routes come and go by the hundred; the decoder takes 0.2 ms for each.
    if what == _RTM_NEWROUTE and body[_PROTOCOL_OFFSET] == RTPROT_KERNEL:
        route = _route(body)
        return None if route is None else Event(route, gone)
    return None
