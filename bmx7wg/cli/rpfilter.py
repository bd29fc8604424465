"""What ``bmx7-wg doctor`` says of Linux's reverse path filter (ip-sysctl, rp_filter).

In strict mode an interface drops a packet if the way back to its source leads elsewhere. The kernel
looks for that way without WireGuard's firewall mark, so an endpoint inside a carried network, to
which the main table has but a default route, seems to be beyond the mesh.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from .checks import Check, content, ok, warn
from .units import some

_STRICT: Final = 1
_NAMED: Final = 5  # peers in one line


def reverse_path(
    root: Path,
    carried: Collection[IPv4Network],
    endpoints: Collection[tuple[str, IPv4Address]],
) -> Iterator[Check]:
    """Whether peers, by what they are called, get through to us from where they are.

    *carried* are the networks that peers carry for us, *endpoints* what peers are called and where
    their packets come from.
    """
    routes = list(_main_table(root))
    covered = [
        name
        for name, address in endpoints
        if any(address in network for network in carried)
        and not any(address in route for route, _ in routes if route.prefixlen)
    ]
    links = sorted({link for route, link in routes if not route.prefixlen})
    if not covered or not links:
        return
    strict = [link for link in links if _mode(root, link) == _STRICT]
    if not strict:
        yield ok("rp_filter", f"it is off or loose on {', '.join(links)}")
    for link in strict:
        key = f"net.ipv4.conf.{link.replace('.', '/')}.rp_filter"
        yield warn(
            "rp_filter",
            f"it is strict on {link}, which drops the packets of {some(covered, _NAMED)}: "
            "they come from addresses inside a network that is carried",
            f"sysctl {key}=2; to keep it, a line {key} = 2 in a file in /etc/sysctl.d",
        )


def _main_table(root: Path) -> Iterator[tuple[IPv4Network, str]]:
    """The IPv4 routes of the main table, with their interfaces (proc(5), /proc/net/route)."""
    for line in content(root / "proc/net/route").splitlines()[1:]:
        link, destination, _, _, _, _, _, mask, *_ = line.split()
        address = int(destination, 16).to_bytes(4, sys.byteorder)
        yield IPv4Network((address, int(mask, 16).bit_count())), link


def _mode(root: Path, link: str) -> int:
    """What counts on an interface: the greater of its own value and that for all."""
    conf = root / "proc/sys/net/ipv4/conf"
    return max(int(content(conf / name / "rp_filter") or 0) for name in ("all", link))
