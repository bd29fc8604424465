"""Who is heard on the link, where, and what keeps old and forged frames out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from ipaddress import IPv6Address
from random import Random
from typing import Final

from .bucket import Bucket
from .identity import NodeId
from .limits import EXPIRY_INTERVALS, NODE_BURST, NODE_RATE, PARSE_RATE
from .linkframe import MAX_FRAME, Frame
from .linkschedule import Schedule, interval
from .model import Announced, Announcement, Incompatible

USUAL_FRAME: Final = 256  # bytes; shorter ones are charged as much, verifying costs the same
RESERVED: Final = PARSE_RATE / 2 / MAX_FRAME  # frames a second from all known paths together


class Path:
    """A neighbour as heard on one interface.

    The source address is not signed, so a frame may be sent on by somebody else. The source
    that is known stays until another one has brought two frames in a row that it did not:
    a real change of address gets through within the next burst, a copy does not.
    """

    __slots__ = ("source", "heard", "frames", "attempts", "_sequence", "_rival", "_rival_sequence")

    def __init__(self, source: IPv6Address, sequence: int, now: float) -> None:
        self.source = source
        self.heard = now
        self.frames = Bucket(NODE_RATE, NODE_BURST, now)  # verified, so nobody else empties it
        self.attempts = Bucket(2 * NODE_RATE, 2 * NODE_BURST, now)  # not verified yet
        self._sequence = sequence
        self._rival: IPv6Address | None = None
        self._rival_sequence = 0

    def is_new(self, source: IPv6Address, sequence: int) -> bool:
        """Whether a frame is later than those that this source and the known one brought."""
        return sequence > (self._rival_sequence if source == self._rival else self._sequence)

    def hear(self, source: IPv6Address, sequence: int, now: float) -> None:
        """Note a frame that is new."""
        self.heard = now
        if source not in (self.source, self._rival):
            self._rival = source
            self._rival_sequence = sequence
            return
        if source != self.source:  # else one of two equal ones is enough
            self.source = source
        self._sequence = sequence
        self._rival = None


class Neighbour:
    """A node that is announced on the link; ``index`` is the interface its endpoint is on."""

    __slots__ = ("node_id", "sequence", "content", "index", "announced")

    def __init__(
        self, node_id: NodeId, sequence: int, content: Announcement | Incompatible, index: int
    ) -> None:
        self.node_id = node_id
        self.sequence = sequence
        self.content = content
        self.index = index
        self.announced: Announced | None = None  # what was observed last


class Link:
    """One interface: its schedule, its paths (least recently heard first), its budgets.

    An interface that went down keeps its paths until they expire, so a carrier that flaps
    changes nothing.
    """

    def __init__(self, index: int, name: str, shortest: float, rng: Random, now: float) -> None:
        self.index = index
        self.name = name
        self.up = True
        self.schedule = Schedule(shortest, rng, now)
        self._shortest = shortest
        self._paths: OrderedDict[bytes, Path] = OrderedDict()
        self._strangers = Bucket(PARSE_RATE / 2, PARSE_RATE / 2, now)

    def path(self, public_key: bytes) -> Path | None:
        return self._paths.get(public_key)

    def afford(self, frame: Frame, source: IPv6Address, now: float) -> bool:
        """Take what verifying a frame costs from the budget of this interface.

        Each known path has its share of one half, some times what it needs, so strangers
        can't use up what neighbours need, and one neighbour not what another needs. Who wants
        to keep a neighbour from being heard must forge its key and its address together.
        """
        path = self._paths.get(frame.public_key)
        if path is not None and path.source == source:
            path.attempts.rate = min(2 * NODE_RATE, RESERVED / len(self._paths))
            if path.attempts.take(now):
                return True
        return self._strangers.take(now, max(len(frame.raw), USUAL_FRAME))

    def hear(self, public_key: bytes, source: IPv6Address, sequence: int, now: float) -> bool:
        """Note an accepted frame; True if the node was not heard here before."""
        path = self._paths.get(public_key)
        if path is None:
            path = self._paths[public_key] = Path(source, sequence, now)
            path.frames.take(now)
            self._count()
            return True
        path.hear(source, sequence, now)
        self._paths.move_to_end(public_key)
        return False

    def forget(self, public_key: bytes) -> None:
        if self._paths.pop(public_key, None):
            self._count()

    def keys(self) -> Iterator[bytes]:
        return iter(tuple(self._paths))

    def first_expiry(self) -> float | None:
        """When the path that was silent longest is given up.

        3.5 of the sender's intervals. The sender counts the nodes as we do, so its interval
        is what ours would be, up to what one of us has not heard yet; both follow the count
        as it moves.
        """
        if not self._paths:
            return None
        oldest = next(iter(self._paths.values()))
        return oldest.heard + EXPIRY_INTERVALS * interval(self._shortest, self.schedule.nodes)

    def expire(self, now: float) -> Iterator[bytes]:
        """Give up, one by one, the paths that were silent for too long."""
        while (expiry := self.first_expiry()) is not None and expiry <= now:
            public_key, _ = self._paths.popitem(last=False)
            self._count()
            yield public_key

    def _count(self) -> None:
        self.schedule.nodes = len(self._paths) + 1
