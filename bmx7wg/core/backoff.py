"""How long to wait before trying again what failed."""

from __future__ import annotations


class Backoff:
    """Waits in seconds: each call returns twice the last one, from *first* up to *longest*."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._next = first

    def __call__(self) -> float:
        now, self._next = self._next, min(self._longest, 2 * self._next)
        return now

    def reset(self) -> None:
        """It succeeded: begin with the first wait again."""
        self._next = self._first
