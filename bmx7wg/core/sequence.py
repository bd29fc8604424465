"""The sequence number of our announcements: never used twice, not even across restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

RESERVE: Final = 10 * 60 * 1_000_000  # µs; a write to disk every ten minutes at most
LARGEST: Final = 10**19  # of 2^64; the year 318,000


class Sequence:
    """Counts max(previous + 1, µs since 1970), so it grows whatever the clock does.

    *reserve* is told, before it is needed, a number that is at least as high as any that was
    handed out; kept on disk and given as *previous* at the next start, no number comes twice
    even after a crash.
    """

    def __init__(self, previous: int, reserve: Callable[[int], None]) -> None:
        if not 0 <= previous < LARGEST:
            raise ValueError(f"a sequence number is between 0 and {LARGEST}")
        self.last = previous
        self._reserved = 0
        self._reserve = reserve

    def next(self, wall_us: int) -> int:
        """The next number; *wall_us* is the wall clock in µs since 1970."""
        self.last = max(self.last + 1, wall_us)
        if self.last > self._reserved:
            self._reserved = self.last + RESERVE
            self._reserve(self._reserved)
        return self.last

    def release(self) -> None:
        """At a clean stop: give back what was reserved and not used."""
        if self._reserved:
            self._reserve(self.last)
