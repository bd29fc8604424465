"""Changes of links, addresses, routes, rules and forwarding, as the kernel tells them."""

from __future__ import annotations

import errno
import select
import socket
import time
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Network
from typing import Final

from ..netlink import ADD_MEMBERSHIP, F_REPLACE, RECEIVE, SOL_NETLINK, Overrun, messages
from .links import Address, Link, decode_address, decode_link, decode_move
from .netconf import RTM_NEWNETCONF, Forwarding, decode_netconf
from .routes import PROTOCOL_OFFSET, RTPROT_KERNEL, Route, Rule, decode_route, decode_rule

_LOCAL_ROUTE_WAIT: Final = 1.0  # s


@dataclass(frozen=True)
class Event:
    """One change; *gone*: deleted, else new or changed.

    *moved*: it is not deleted but in another network namespace: the number that this one has for
    that one, and its new index.
    """

    subject: Link | Address | Route | Rule | Forwarding
    gone: bool
    moved: tuple[int, int] | None = None


class _Kind(IntEnum):
    """Of messages (linux/rtnetlink.h, RTM_*)."""

    NEWLINK, DELLINK = 16, 17
    NEWADDR, DELADDR = 20, 21
    NEWROUTE, DELROUTE = 24, 25
    NEWRULE, DELRULE = 32, 33
    NEWNETCONF = RTM_NEWNETCONF


class Group(IntEnum):
    """What `Events` may tell of (linux/rtnetlink.h, RTNLGRP_*)."""

    LINK = 1
    IPV4_ADDRESS = 5
    IPV4_ROUTE = 7
    IPV4_RULE = 8
    IPV6_ADDRESS = 9
    IPV6_ROUTE = 11
    IPV6_RULE = 19
    IPV4_NETCONF = 24
    IPV6_NETCONF = 25


class Events:
    """Changes as they happen: watch ``fileno()`` for reading, then `get` until it is empty.

    Of routes it tells of those with one of the *protocols*, by default of the connected ones, and
    of those that came in place of another: a routing daemon's come and go by the hundred.
    """

    def __init__(self, *groups: Group, protocols: tuple[int, ...] = (RTPROT_KERNEL,)) -> None:
        self._protocols = protocols
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
            events = [] if sender else [self._event(*message) for message in messages(data)]
            if known := [event for event in events if event is not None]:
                return known

    def _event(self, kind: int, flags: int, sequence: int, body: bytes) -> Event | None:
        match kind:
            case _Kind.NEWLINK | _Kind.DELLINK:
                return _link_event(kind, body)
            case _Kind.NEWADDR | _Kind.DELADDR:
                return Event(decode_address(body), kind == _Kind.DELADDR)
            case _Kind.NEWROUTE | _Kind.DELROUTE:
                told = body[PROTOCOL_OFFSET] in self._protocols or flags & F_REPLACE
                route = decode_route(body) if told else None
                return Event(route, kind == _Kind.DELROUTE) if route else None
            case _Kind.NEWRULE | _Kind.DELRULE:
                rule = decode_rule(body)
                return Event(rule, kind == _Kind.DELRULE) if rule else None
            case _Kind.NEWNETCONF:
                forwarding = decode_netconf(body)
                return Event(forwarding, False) if forwarding else None
        return None


def _link_event(kind: int, body: bytes) -> Event | None:
    # A bridge tells of its ports in a family of its own, where "deleted" means "no port now";
    # Wi-Fi tells of scans in messages that lack nearly all (net/wireless/wext-core.c).
    if body[0] != socket.AF_UNSPEC:
        return None
    link, gone = decode_link(body), kind == _Kind.DELLINK
    return Event(link, gone, decode_move(body) if gone else None) if link.mtu else None
