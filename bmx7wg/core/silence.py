"""Which peers are sent traffic and give no answer, told from their counters.

WireGuard's other end answers at least after 10 s (its KEEPALIVE_TIMEOUT) when it got data and has
none to send. So traffic to it with nothing back is a way that is cut, whatever is announced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from .limits import UNANSWERED
from .model import PeerStatistics

LOOK: Final = 5.0  # s between looks at peers that carry something


@dataclass
class _Seen:
    read: PeerStatistics
    since: float | None = None  # when the traffic that has no answer was seen first


class Silence:
    """Fed with statistics; knows the peers of the last call only."""

    def __init__(self) -> None:
        self._seen: dict[bytes, _Seen] = {}
        self._due: float | None = None

    def look(
        self, keys: Collection[bytes], read: Mapping[bytes, PeerStatistics], now: float
    ) -> tuple[set[bytes], set[bytes]]:
        """Which of these public keys are silent for 15 s, and which answered since the last call.

        A peer stays silent until it answers.
        """
        silent, answered, seen = set(), set(), {}
        for key in keys:
            found, before = read.get(key), self._seen.get(key)
            if found is None:
                continue
            after = seen[key] = _Seen(found, before.since if before else None)
            if before is None:
                continue
            if (found.rx_bytes, found.last_handshake) != (
                before.read.rx_bytes,
                before.read.last_handshake,
            ):
                after.since = None
                answered.add(key)
            elif after.since is None and found.tx_bytes > before.read.tx_bytes:
                after.since = now
            if after.since is not None and now - after.since >= UNANSWERED:
                silent.add(key)
        self._seen = seen
        self._due = now + LOOK if seen else None
        return silent, answered

    def next_look(self) -> float | None:
        """When the counters should be read again."""
        return self._due
