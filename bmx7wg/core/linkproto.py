"""Discovery on the link, without IO (design.md 3).

Fed with datagrams, interfaces and the time; hands out frames to send and observations; says
when it wants to be woken. ``now`` is monotonic seconds, ``wall_us`` the wall clock in µs since
1970, which is used for nothing but the sequence number.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from random import Random
from typing import Final

from . import announcement, linkframe
from .keys import SigningKey
from .limits import DEFAULT_PORT, INTERVAL, MAX_PEERS
from .linkframe import Flags, Frame, FrameError
from .linkschedule import GROUP
from .linktable import Link, Neighbour
from .model import Announced, Announcement, Endpoint, Origin, Withdrawn
from .sequence import Sequence

HOP_LIMIT: Final = 255  # a router would have taken one off, so the sender is on this link
_LINK_LOCAL: Final = IPv6Network("fe80::/10")


@dataclass(frozen=True)
class Send:
    """A datagram to be sent from an interface to port 6276 of the group or of one node."""

    interface: int
    destination: IPv6Address
    data: bytes


class Refused(Exception):
    """A neighbour's frame is dropped; the reason is counted."""


class LinkProtocol:
    """One node on its links.

    What neighbours do wrong is in ``counters``, by reason: ``interface``, ``hop-limit``,
    ``source`` (not link-local), those of `linkframe.decode`, ``own``, ``cloned`` (our key,
    used by somebody else), ``replay``, ``rate``, ``full``, ``budget``, ``signature``, and
    ``announcement-…`` for those of `announcement.decode`.
    """

    def __init__(
        self, key: SigningKey, rng: Random, sequence: Sequence, interval: float = INTERVAL
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._key = key
        self._rng = rng
        self._sequence = sequence
        self._interval = interval
        self._payload: bytes | None = None
        self._links: dict[int, Link] = {}
        self._neighbours: dict[bytes, Neighbour] = {}
        # The sequences of those who left, or their old frames would bring them back.
        self._departed: OrderedDict[bytes, int] = OrderedDict()
        self._sends: list[Send] = []
        self._observations: list[Announced | Withdrawn] = []

    # -- what happens to us -----------------------------------------------------------------

    def announce(self, content: Announcement, now: float) -> None:
        """Say this of ourselves from now on; at the first time, ask for the others too."""
        payload = announcement.encode(content)
        if payload == self._payload:
            return
        first, self._payload = self._payload is None, payload
        for link in self._links.values():
            link.schedule.start(now, solicit=first)

    def interface_up(self, index: int, name: str, now: float) -> None:
        """An interface can be used; also when its name or link-local address is another now."""
        link = self._links.get(index)
        if link is None:
            link = self._links[index] = Link(index, name, self._interval, self._rng, now)
        renamed = link.name != name
        link.up, link.name = True, name
        link.schedule.start(now, solicit=True)
        if renamed:
            for public_key in link.keys():
                self._neighbours[public_key].announced = None  # names don't count as a change
            self._reconsider(link.keys())

    def interface_down(self, index: int, now: float) -> None:
        """An interface can't be used. Who is heard elsewhere moves there at once."""
        link = self._links.get(index)
        if link is not None:
            link.up = False
            self._reconsider(link.keys())

    def solicit(self, now: float) -> None:
        """Ask everybody to announce themselves."""
        for link in self._links.values():
            link.schedule.start(now, solicit=True)

    def goodbye(self, wall_us: int) -> None:
        """Tell everybody that we leave, and say nothing more until the next `announce`."""
        if self._payload is None:
            return
        self._payload = None
        data = self._encode(Flags.GOODBYE, b"", wall_us)
        self._sends += [Send(i, GROUP, data) for i, link in self._links.items() if link.up]

    def datagram(
        self,
        index: int,
        source: IPv6Address,
        hop_limit: int,
        data: bytes,
        now: float,
        wall_us: int,
    ) -> None:
        """Take what arrived on an interface; never raises for what is in it."""
        try:
            self._receive(index, source, hop_limit, data, now)
        except (Refused, FrameError) as refused:
            self.counters[str(refused)] += 1
        except announcement.AnnouncementError as error:
            self.counters[f"announcement-{error.reason}"] += 1
        else:
            self._speak(now, wall_us)

    def timeout(self, now: float, wall_us: int) -> None:
        """Do what is due."""
        for link in tuple(self._links.values()):
            for public_key in link.expire(now):
                if any(other.path(public_key) for other in self._links.values()):
                    self._reconsider([public_key])
                else:
                    self._forget(public_key, "not heard any more" if link.up else "link down")
            if not link.up and link.first_expiry() is None:
                del self._links[link.index]
        self._speak(now, wall_us)

    def next_timeout(self) -> float | None:
        """When `timeout` is to be called, None if there is nothing to wait for."""
        times = [link.first_expiry() for link in self._links.values()]
        if self._payload is not None:
            times += [link.schedule.due() for link in self._links.values() if link.up]
        return min((time for time in times if time is not None), default=None)

    def drain(self) -> tuple[list[Send], list[Announced | Withdrawn]]:
        """What is to be sent and what was observed since the last call, in order."""
        drained = self._sends, self._observations
        self._sends, self._observations = [], []
        return drained

    # -- receiving --------------------------------------------------------------------------

    def _receive(
        self, index: int, source: IPv6Address, hop_limit: int, data: bytes, now: float
    ) -> None:
        link = self._links.get(index)
        if link is None or not link.up:
            raise Refused("interface")
        if hop_limit != HOP_LIMIT:
            raise Refused("hop-limit")
        if source not in _LINK_LOCAL:
            raise Refused("source")
        frame = linkframe.decode(data)
        self._check(link, frame, source, now)
        # From here on it is known who speaks.
        path = link.path(frame.public_key)
        if path is not None:
            path.frames.take(now)
        if frame.flags & Flags.GOODBYE:
            self._goodbye(frame)
            return
        content = announcement.decode(frame.payload)
        self.counters["accepted"] += 1
        neighbour = self._neighbours.get(frame.public_key)
        if neighbour is None:
            self._departed.pop(frame.public_key, None)
            neighbour = Neighbour(frame.node_id, frame.sequence, content, index)
            self._neighbours[frame.public_key] = neighbour
        if content != neighbour.content:  # else one of two equal ones is enough
            neighbour.content = content
        neighbour.sequence = frame.sequence
        new_here = link.hear(frame.public_key, source, frame.sequence, now)
        # Who is new here likely doesn't know us either; in our burst it will hear us anyway.
        if frame.flags & Flags.SOLICIT or (new_here and link.schedule.settled):
            link.schedule.solicited(source, now)
        self._reconsider([frame.public_key])

    def _check(self, link: Link, frame: Frame, source: IPv6Address, now: float) -> None:
        """Refuse what is not a new frame of its alleged sender. The cheap checks come first."""
        key = frame.public_key
        path = link.path(key)
        if key == self._key.public and frame.sequence <= self._sequence.last:
            raise Refused("own")
        if frame.sequence < self._least_sequence(key):
            raise Refused("replay")
        if path is not None:
            if not path.is_new(source, frame.sequence):
                raise Refused("replay")
            if not path.frames.holds(now) and not frame.flags & Flags.GOODBYE:
                raise Refused("rate")
        if key not in self._neighbours and len(self._neighbours) >= MAX_PEERS:
            raise Refused("full")
        if not link.afford(frame, source, now):
            raise Refused("budget")
        if not frame.authentic:
            raise Refused("signature")
        if key == self._key.public:
            raise Refused("cloned")

    def _least_sequence(self, public_key: bytes) -> int:
        neighbour = self._neighbours.get(public_key)
        if neighbour is not None:
            return neighbour.sequence  # the same frame may come in on several interfaces
        return self._departed.get(public_key, -1) + 1

    def _goodbye(self, frame: Frame) -> None:
        if frame.public_key in self._neighbours:
            self._neighbours[frame.public_key].sequence = frame.sequence
            self._forget(frame.public_key, "goodbye")

    # -- observing --------------------------------------------------------------------------

    def _reconsider(self, public_keys: Iterable[bytes]) -> None:
        """Observe what has changed of these; the endpoint stays where it is while it can."""
        for public_key in public_keys:
            neighbour = self._neighbours[public_key]
            neighbour.index = self._choose(public_key, neighbour.index)
            observed = Announced(
                neighbour.node_id,
                Origin.LINK,
                neighbour.content,
                self._endpoint(public_key, neighbour),
            )
            if observed != neighbour.announced:
                neighbour.announced = observed
                self._observations.append(observed)

    def _choose(self, public_key: bytes, current: int) -> int:
        """The interface to reach a node on: one that is up, the same if possible."""
        paths = ((link, link.path(public_key)) for link in self._links.values())
        _, _, _, index = max(
            (link.up, link.index == current, path.heard, link.index)
            for link, path in paths
            if path is not None
        )
        return index

    def _endpoint(self, public_key: bytes, neighbour: Neighbour) -> Endpoint:
        said = neighbour.content
        port = 0
        if isinstance(said, Announcement):
            if said.endpoints:
                return said.endpoints[0]
            port = said.port
        link = self._links[neighbour.index]
        path = link.path(public_key)
        assert path is not None, "a neighbour is always reached where it is heard"
        return Endpoint(path.source, port or DEFAULT_PORT, link.index, link.name)

    def _forget(self, public_key: bytes, reason: str) -> None:
        neighbour = self._neighbours.pop(public_key)
        for link in self._links.values():
            link.forget(public_key)
        self._departed[public_key] = neighbour.sequence
        if len(self._departed) > MAX_PEERS:
            self._departed.popitem(last=False)
        self._observations.append(Withdrawn(neighbour.node_id, Origin.LINK, reason))

    # -- speaking ---------------------------------------------------------------------------

    def _speak(self, now: float, wall_us: int) -> None:
        if self._payload is None:
            return
        frames: dict[Flags, bytes] = {}  # one for all links on which it is due now
        for link in self._links.values():
            if not link.up:
                continue
            schedule, flags = link.schedule, Flags.NONE
            answer = schedule.answer_due()
            if schedule.announcement_due() <= now:
                destination = GROUP
                # As long as nobody is heard, what was asked may have been lost.
                if schedule.solicit or schedule.nodes == 1:
                    flags = Flags.SOLICIT
                schedule.announced(now)
                self.counters["announced"] += 1
            elif answer is not None and answer <= now:
                destination = schedule.answered(now)
                self.counters["answered"] += 1
            else:
                continue
            if flags not in frames:
                frames[flags] = self._encode(flags, self._payload, wall_us)
            self._sends.append(Send(link.index, destination, frames[flags]))

    def _encode(self, flags: Flags, payload: bytes, wall_us: int) -> bytes:
        return linkframe.encode(flags, self._sequence.next(wall_us), payload, self._key)
