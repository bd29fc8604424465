"""A peer as people see it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from .identity import key_text
from .model import DesiredPeer, Endpoint, PeerStatistics
from .peers import Peer
from .views import PeerView


def view(
    peer: Peer,
    *,
    address: IPv6Address | None,
    wanted: DesiredPeer | None,
    read: PeerStatistics | None,
) -> PeerView:
    """*wanted* and *read* are what the device should have and has of it, if anything."""
    announced = peer.announcement
    return PeerView(
        node_id=peer.node_id,
        name=peer.name,
        origin=peer.sighting.origin,
        state=peer.state,
        reason=peer.reason,
        public_key=key_text(peer.public_key) if peer.public_key else "",
        endpoint=str(current_endpoint(read, peer.endpoint) or ""),
        address=str(address or ""),
        allowed_ips=tuple(str(prefix) for prefix in wanted.allowed_ips) if wanted else (),
        offers=tuple((str(o.prefix), o.bandwidth) for o in announced.networks) if announced else (),
        metric=peer.metric,
        hops=peer.hops,
        last_handshake=read.last_handshake // 1000 if read else 0,
        rx_bytes=read.rx_bytes if read else 0,
        tx_bytes=read.tx_bytes if read else 0,
    )


def current_endpoint(read: PeerStatistics | None, announced: Endpoint | None) -> Endpoint | None:
    """Where a peer is: the device knows best, but may not know the interface of an address."""
    roamed = read.endpoint if read else None
    if roamed is None:
        return announced
    if announced is not None and announced.address == roamed.address:
        same = announced.port == roamed.port
        return announced if same else replace(announced, port=roamed.port)
    return roamed
