"""Links and addresses as rtnetlink has them: values and their messages. The one entry to pyroute2.

Importing the package ``pyroute2`` loads every client that it ships: 280 to 420 modules, 130 to
230 ms, 16 MB. Only two message classes are wanted here (20 ms); the socket beneath, which the
WireGuard family shares, is small. The classes are the same in 0.7.2 (Debian 12) and 0.7.7
(Debian 13).
"""

from __future__ import annotations

import importlib.util
import socket
import struct
import sys
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any, Final

from ..netlink import HEADER, attributes


def _load_message_classes() -> tuple[Any, Any]:
    """pyroute2's ifinfmsg and ifaddrmsg, without running the package's ``__init__``.

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
    finally:
        if stand_in is not None:
            del sys.modules["pyroute2"]
    return ifinfmsg, ifaddrmsg


_ifinfmsg, _ifaddrmsg = _load_message_classes()

# linux/if.h, linux/if_addr.h, linux/if_link.h
IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_MULTICAST: Final = 0x1000
IFF_LOWER_UP: Final = 0x10000
IFA_F_NODAD: Final = 0x02
IFA_F_DADFAILED: Final = 0x08
IFA_F_TENTATIVE: Final = 0x40
ADDR_GEN_MODE_NONE: Final = 1
_LINK_HEADER: Final = 16  # bytes of struct ifinfomsg
_ADDRESS_HEADER: Final = 8  # bytes of struct ifaddrmsg
_IFLA_NEW_NETNSID: Final = 45
_IFLA_NEW_IFINDEX: Final = 49
_IFA_PROTO: Final = 11  # since Linux 5.18; pyroute2 does not know it

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
    group: int = 0  # a number for people
    link_local: bool = False  # it gets an fe80:: address when it goes up

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
    protocol: int = 0  # who added it; 0: not said

    @property
    def usable(self) -> bool:
        """Whether one can bind to it now: duplicate address detection is done."""
        return not self.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)


def encode_link(words: dict[str, Any] | None = None, **fields: int) -> bytes:
    """A message of attributes (IFLA_*) and fields of struct ifinfomsg, by pyroute2's names."""
    return _encode(_ifinfmsg, words or {}, **fields)


def _encode(message_class: Any, words: dict[str, Any], **fields: int) -> bytes:
    message = message_class()
    for field, value in fields.items():
        message[field] = value
    message["attrs"] = list(words.items())
    message.encode()
    return bytes(message.data[HEADER.size :])


def _decode(message_class: Any, body: bytes) -> Any:
    header = HEADER.pack(HEADER.size + len(body), 0, 0, 0, 0)
    message = message_class(header + body)
    message.decode()
    return message


def encode_addresses_dump(index: int) -> bytes:
    return _encode(_ifaddrmsg, {}, index=index)


def encode_address(index: int, interface: Interface, flags: int = 0, protocol: int = 0) -> bytes:
    words = {"IFA_LOCAL": str(interface.ip), "IFA_ADDRESS": str(interface.ip), "IFA_FLAGS": flags}
    body = _encode(
        _ifaddrmsg,
        words,
        family=socket.AF_INET6 if interface.version == 6 else socket.AF_INET,
        prefixlen=interface.network.prefixlen,
        index=index,
    )
    return body + (struct.pack("=HHB3x", 5, _IFA_PROTO, protocol) if protocol else b"")


@lru_cache(maxsize=1024)
def decode_link(body: bytes) -> Link:
    """Messages without counters stay the same for as long as the link does."""
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
        group=message.get_attr("IFLA_GROUP") or 0,
        link_local=_address_mode(message) not in (None, ADDR_GEN_MODE_NONE),
    )


def decode_move(body: bytes) -> tuple[int, int] | None:
    """Where a link went: the number of a network namespace and its new index; None: nowhere."""
    found = dict(attributes(body, _LINK_HEADER))
    if _IFLA_NEW_NETNSID not in found or _IFLA_NEW_IFINDEX not in found:
        return None
    namespace, index = found[_IFLA_NEW_NETNSID], found[_IFLA_NEW_IFINDEX]
    return int.from_bytes(namespace, sys.byteorder), int.from_bytes(index, sys.byteorder)


def _address_mode(message: Any) -> int | None:
    """How IPv6 addresses are made of the link's own; None where there is no IPv6."""
    families = message.get_attr("IFLA_AF_SPEC")
    inet6 = families.get_attr("AF_INET6") if families else None
    mode = inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") if inet6 else None
    return None if mode is None else int(mode)


def decode_address(body: bytes) -> Address:
    message = _decode(_ifaddrmsg, body)
    # On a point-to-point link IFA_ADDRESS is the other end, IFA_LOCAL is ours.
    own = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    flags = message.get_attr("IFA_FLAGS")
    protocol = dict(attributes(body, _ADDRESS_HEADER)).get(_IFA_PROTO, b"")
    return Address(
        index=message["index"],
        interface=ip_interface(f"{own}/{message['prefixlen']}"),
        flags=message["flags"] if flags is None else flags,
        protocol=int.from_bytes(protocol, sys.byteorder),
    )
