"""Who begins the first handshake of a pair of nodes, and when it is begun anew.

Two initiations that cross void each other, and WireGuard begins no other for 5 s. wireguard-go
(0.0.20220316, busy) may even reach a session in which one end can't read the other, until it
starts over after 15 s. So the end with the lower public key begins. The other end has the peer
without an endpoint for a moment, so that not even a user's packet sends an initiation, and learns
the endpoint from the one that comes, as WireGuard does. It begins itself if none comes: the
first end may have a session with what this end was before it started again.

An initiation to a peer that doesn't know us yet is lost. Putting the peer into the device anew
makes WireGuard forget that one was sent, and begin another.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 0.04  # s until the end that begins tries again, doubled each time
FIRST_TRIES: Final = 7  # 5 s in all; then WireGuard's own are as good
SECOND: Final = 0.1  # s until the other end tries, trebled each time, not to meet the first
SECOND_TRIES: Final = 4
SHARE: Final = 0.001  # s for each that has not come about: in a crowd the first tries are left out


class Openings:
    """The first handshakes that have not come about yet, by the other end's public key."""

    def __init__(self, own_key: bytes) -> None:
        self.own_key = own_key
        self._due: dict[bytes, float] = {}
        self._tries: dict[bytes, int] = {}
        self._waiting: set[bytes] = set()

    def first(self, key: bytes) -> bool:
        """Whether it is for this end to begin."""
        return self.own_key < key

    def begin(self, key: bytes, now: float) -> None:
        """The peer is in the device, for the first time or anew."""
        if self.first(key):
            wait, growth, most = FIRST, 2, FIRST_TRIES
        else:
            wait, growth, most = SECOND, 3, SECOND_TRIES
            if key not in self._tries:
                self._waiting.add(key)
        tries = self._tries.get(key, 0)
        if tries >= most:
            return
        while tries < most - 1 and wait * growth**tries < SHARE * len(self._due):
            tries += 1
        self._due[key] = now + wait * growth**tries
        self._tries[key] = tries + 1

    def end(self, key: bytes) -> None:
        """There was a handshake, or the peer has left."""
        self._due.pop(key, None)
        self._tries.pop(key, None)
        self._waiting.discard(key)

    def take_due(self, now: float) -> set[bytes]:
        """Those that should have come about by now; each is told once, until it begins again."""
        due = {key for key, when in self._due.items() if now >= when}
        for key in due:
            del self._due[key]
        self._waiting -= due
        return due

    def next_due(self) -> float | None:
        """When `take_due` should be asked; what is then known of handshakes should be new."""
        return min(self._due.values(), default=None)

    def waits(self, key: bytes) -> bool:
        """Whether this end leaves the beginning to the other for the moment."""
        return key in self._waiting

    def waiting(self) -> set[bytes]:
        """Those in the device for which `waits` holds."""
        return set(self._waiting)
