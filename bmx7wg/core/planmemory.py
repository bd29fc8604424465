"""What is remembered of a device from one plan for it to the next (plan.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .limits import CONNECTED_FOR
from .model import ActualPeer, DesiredPeer, Endpoint

_NANOSECONDS: Final = 1_000_000_000


class Memory:
    """Of one device; nothing of it has to be known for a plan to be right.

    Two endpoints of a peer compete: the one that is announced, and the one that the device has,
    which WireGuard learns from the peer's packets. So it is remembered, by public key, which
    announced ones the device was *told* or had as they are, and which were *weighed* and not told,
    because it knew better.
    """

    def __init__(self, told: Mapping[bytes, Endpoint] | None = None) -> None:
        self.told = dict(told or {})
        self._weighed: dict[bytes, Endpoint] = {}
        #: Wanted and actual peers that were found alike: nothing to do while both are the same.
        self.alike: dict[bytes, tuple[DesiredPeer, ActualPeer]] = {}

    def forget(self) -> None:
        """The device is gone."""
        self.told.clear()
        self._weighed.clear()
        self.alike.clear()

    def settled(
        self,
        desired: Mapping[bytes, DesiredPeer],
        found: Mapping[bytes, ActualPeer],
        told: Mapping[bytes, Endpoint],
    ) -> None:
        """The plan was carried out: these were *found* before, these endpoints *told*."""
        kept = {key: endpoint for key, endpoint in self.told.items() if key in found}
        announced = {k: p.endpoint for k, p in desired.items() if p.endpoint is not None}
        same = {
            key: endpoint
            for key, endpoint in announced.items()
            if key in self.alike or (key in found and found[key].endpoint == endpoint)
        }
        self.told = kept | same | dict(told)
        for key in [k for k in self._weighed if k in self.told or k not in announced]:
            del self._weighed[key]

    def must_tell(self, peer: DesiredPeer, actual: ActualPeer, now: int) -> bool:
        """Whether the device has to be told the endpoint of a peer that it has; *now* in ns.

        Peers roam and WireGuard follows them, so what it has learnt is only overruled when there
        is something newer: an endpoint that is announced since the last plan, or, for a peer to
        which it knows a way that is not ours, no handshake within 180 s. wireguard-go does not tell
        the scope of a link-local address; then it may be the right one, and the same rule decides.
        """
        if peer.endpoint is None or peer.endpoint == actual.endpoint:
            return False
        if actual.endpoint is None:
            return True
        told = self.told.get(peer.public_key)
        if told is not None:
            return peer.endpoint != told
        if peer.endpoint != self._weighed.setdefault(peer.public_key, peer.endpoint):
            return True
        return now - actual.last_handshake > CONNECTED_FOR * _NANOSECONDS

    def are_alike(self, peer: DesiredPeer, actual: ActualPeer) -> bool:
        """Whether there is nothing to tell, now and later: so nothing that depends on the time."""
        return (
            peer.preshared_key == actual.preshared_key
            and peer.keepalive == actual.keepalive
            and (
                peer.endpoint in (None, actual.endpoint)
                or (peer.endpoint == self.told.get(peer.public_key) and actual.endpoint is not None)
            )
            and (
                peer.allowed_ips == actual.allowed_ips
                or set(peer.allowed_ips) == set(actual.allowed_ips)
            )
        )
