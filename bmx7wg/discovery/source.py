"""What the service asks of a source of peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..core.model import Announcement, Observation

#: Takes observations one by one, on the event loop; must not block or raise.
Observer = Callable[[Observation], None]


class Source(Protocol):
    """A way to find peers: observations out, our own announcement in.

    No method raises for what the outside does; that becomes a `SourceStatus`. A source repairs
    itself, with backoff, for as long as it is started.
    """

    async def start(self) -> None:
        """Begin to observe; returns at once even when nothing is there to be observed yet."""

    def announce(self, announcement: Announcement) -> None:
        """Say this of ourselves from now on. The same again says nothing new."""

    def follow_metrics(self, wanted: bool) -> None:
        """Whether somebody chooses by the metrics of paths, so that they have to be fresh."""

    async def resync(self) -> None:
        """Read all anew and ask the others to speak up; for Synchronize() and `sync`."""

    async def stop(self, *, leave: bool = True) -> None:
        """Let go of everything; withdraw our announcement, unless we don't *leave* but come back
        in a moment. Takes at most 2 s.
        """

    def counters(self) -> dict[str, int]:
        """What was seen and what was refused, by reason, since the start."""
