"""The interfaces of this host, and on which of them we look for neighbours (design.md 8)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv6Address
from typing import Final

from ..rtnetlink import IFF_MULTICAST, IFF_UP, Address, Event, Link, Rtnetlink

_IFF_RUNNING: Final = 0x40  # linux/if.h: has carrier and may be used (RFC 2863)
_USABLE: Final = IFF_UP | _IFF_RUNNING | IFF_MULTICAST
_ETHERNET, _INFINIBAND = 1, 32  # linux/if_arp.h: what has neighbours, unlike tunnels

#: Kinds of links that look like Ethernet, and go through an underlay that we use ourselves.
TUNNELS: Final = frozenset(
    ("tun", "gretap", "ip6gretap", "erspan", "ip6erspan", "vxlan", "geneve", "wireguard")
)

#: What managers of containers and virtual machines make on the host's side.
CONTAINERS: Final = (
    "docker*", "br-" + 12 * "[0-9a-f]", "podman*", "cni*", "cali*", "cilium*", "flannel*",
    "virbr*", "lxcbr*", "lxdbr*", "incusbr*", "ve-*", "vb-*", "vz-*",
)  # fmt: skip


@dataclass(frozen=True)
class Interface:
    """An interface to work on, with the link-local addresses that it sends from."""

    index: int
    name: str
    addresses: frozenset[IPv6Address]


class Interfaces:
    """What the kernel has told so far; `apply` what it tells next."""

    def __init__(self, links: Iterable[Link], addresses: Iterable[Address]) -> None:
        self._links = {link.index: link for link in links}
        self._addresses: dict[int, frozenset[IPv6Address]] = {}
        for address in addresses:
            self._take_address(address, gone=False)

    @classmethod
    def read(cls) -> Interfaces:
        """Ask the kernel for all of it. Blocks; OSError if it does not answer."""
        with Rtnetlink() as rtnetlink:
            return cls(rtnetlink.links(), rtnetlink.addresses())

    def apply(self, event: Event) -> None:
        if isinstance(event.subject, Address):
            self._take_address(event.subject, event.gone)
        elif isinstance(event.subject, Link):
            if event.gone:
                self._links.pop(event.subject.index, None)
                self._addresses.pop(event.subject.index, None)
            else:
                self._links[event.subject.index] = event.subject

    def select(self, patterns: Collection[str], exclude: Collection[str]) -> dict[int, Interface]:
        """The interfaces to work on now, by index: up, with carrier and a usable address.

        *patterns* are globs, "!" excludes; without a positive one the default is meant.
        Interfaces named in *exclude* (our own device) are never taken.
        """
        unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
        wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
        return {
            index: Interface(index, link.name, self._addresses[index])
            for index, link in self._links.items()
            if link.flags & _USABLE == _USABLE
            and self._addresses.get(index)
            and link.name not in exclude
            and not _matches(link.name, unwanted)
            and (_matches(link.name, wanted) if wanted else self._by_default(link))
        }

    def _by_default(self, link: Link) -> bool:
        master = self._links.get(link.master)
        return (
            link.hardware_type in (_ETHERNET, _INFINIBAND)
            and link.kind not in TUNNELS
            and (master is None or master.kind == "vrf")  # not a port: its bridge is taken
            and not _matches(link.name, CONTAINERS)
        )

    def _take_address(self, address: Address, gone: bool) -> None:
        ip = address.interface.ip
        if ip.version != 6 or not ip.is_link_local:
            return
        others = self._addresses.get(address.index, frozenset()) - {ip}
        usable = address.usable and not gone
        self._addresses[address.index] = others | {ip} if usable else others


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
