"""A token bucket, for everything that somebody else could make us do too often."""

from __future__ import annotations

_EPSILON = 1e-9  # tokens; so that waiting until `ready_at` is always long enough


class Bucket:
    """Holds up to *capacity* tokens, refilled at *rate* a second; full at first.

    ``rate`` may be changed at any time.
    """

    __slots__ = ("rate", "capacity", "_level", "_at")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        self.rate = rate
        self.capacity = capacity
        self._level = capacity
        self._at = now

    def holds(self, now: float, amount: float = 1.0) -> bool:
        """Whether *amount* tokens are there; takes none."""
        return self._filled(now) >= amount - _EPSILON

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take *amount* tokens if they are there."""
        if not self.holds(now, amount):
            return False
        self._level = self._filled(now) - amount
        self._at = max(now, self._at)
        return True

    def ready_at(self, amount: float = 1.0) -> float:
        """The time from which on *amount* tokens are there, if nobody takes any before."""
        return self._at + max(0.0, amount - self._level) / self.rate

    def _filled(self, now: float) -> float:
        return min(self.capacity, self._level + max(0.0, now - self._at) * self.rate)
