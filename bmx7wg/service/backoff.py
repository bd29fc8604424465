"""When to try again what failed."""

from __future__ import annotations


class Backoff:
    """Doubles the wait at each failure, from *first* to *last* seconds."""

    def __init__(self, first: float, last: float) -> None:
        self._first, self._last = first, last
        #: The wait after the next failure.
        self.wait = first
        #: When to try again (monotonic seconds); None when nothing failed.
        self.due: float | None = None

    def failed(self, now: float) -> None:
        self.due = now + self.wait
        self.wait = min(2 * self.wait, self._last)

    def succeeded(self) -> None:
        self.due, self.wait = None, self._first
