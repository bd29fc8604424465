"""Many nodes at once on one link, as far as a service can tell from their announcements.

    python3 -m tests.system.crowd INTERFACE join FIRST LAST
    python3 -m tests.system.crowd INTERFACE leave FIRST LAST

Nodes have numbers, from which their keys follow, so that another run can make them leave again.
Nobody of them answers: WireGuard sends its initiations to a port where no one listens.
"""

from __future__ import annotations

import hashlib
import socket
import sys
import time
from ipaddress import IPv6Address

from bmx7wg import sockets
from bmx7wg.core import announcement, linkframe
from bmx7wg.core.identity import NodeId
from bmx7wg.core.keys import SigningKey
from bmx7wg.core.limits import LINK_GROUP
from bmx7wg.core.linkframe import Flags
from bmx7wg.core.model import Announcement
from bmx7wg.discovery.link_socket import LinkSocket

RATE = 400  # frames a second; a service verifies 512 of strangers


def signing_key(number: int) -> SigningKey:
    return SigningKey(hashlib.sha256(f"crowd {number}".encode()).digest())


def node_id(number: int) -> NodeId:
    return signing_key(number).node_id


def public_key(number: int) -> bytes:
    """WireGuard's; any 32 bytes are one."""
    return hashlib.sha256(f"crowd's WireGuard {number}".encode()).digest()


def frame(number: int, *, leave: bool) -> bytes:
    said = Announcement(public_key(number), port=9, name=f"crowd-{number}")
    payload = b"" if leave else announcement.encode(said)
    flags = Flags.GOODBYE if leave else Flags.NONE
    return linkframe.encode(flags, time.time_ns() // 1000, payload, signing_key(number))


def main(interface: str, verb: str, first: int, last: int) -> None:
    index = socket.if_nametoindex(interface)
    group = IPv6Address(LINK_GROUP)
    link = LinkSocket(sockets.make(sockets.LINK))
    begun = time.monotonic()
    for sent, number in enumerate(range(first, last)):
        time.sleep(max(0.0, begun + sent / RATE - time.monotonic()))
        link.send(index, group, frame(number, leave=verb == "leave"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
