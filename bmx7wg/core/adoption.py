"""The peers of a device that was there before us, until they are known or given up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .model import ActualDevice, DesiredPeer


class Adoption:
    """They stay until the source has answered and the grace time is over, or until a peer that
    is announced takes their place.
    """

    def __init__(self) -> None:
        self._peers: dict[bytes, DesiredPeer] = {}
        self._until: float | None = None

    @property
    def peers(self) -> Iterable[DesiredPeer]:
        return self._peers.values()

    def begin(self, actual: ActualDevice) -> None:
        """These were there."""
        for key, peer in actual.peers.items():
            self._peers[key] = DesiredPeer(
                key, peer.preshared_key, peer.endpoint, peer.allowed_ips, peer.keepalive
            )

    def answered(self, now: float, grace: float) -> None:
        """The source is there: who has not been heard of after *grace* seconds is gone."""
        if self._peers and self._until is None:
            self._until = now + grace

    def known(self, key: bytes) -> None:
        """A peer that is announced has this public key."""
        self._peers.pop(key, None)

    def expire(self, now: float) -> bool:
        """Whether the time was over, and somebody may be given up."""
        if self._until is None or now < self._until:
            return False
        self._peers.clear()
        self._until = None
        return True

    def next_timeout(self) -> float | None:
        return self._until

    def add_to(self, peers: dict[bytes, DesiredPeer]) -> None:
        """Want them beside these *peers*, with what nobody else is to have."""
        taken = {prefix for peer in peers.values() for prefix in peer.allowed_ips}
        for key, peer in self._peers.items():
            if key not in peers:
                left = tuple(prefix for prefix in peer.allowed_ips if prefix not in taken)
                if left or not peer.allowed_ips:
                    peers[key] = replace(peer, allowed_ips=left)
