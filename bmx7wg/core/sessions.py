"""WireGuard's sessions as far as the counters tell: who is connected, when to look, whom to probe.

There are no events for handshakes (platform fact of WireGuard), so the device is read: fast
after a peer was added, seldom later, and when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from .limits import CONNECTED_FOR
from .model import PeerStatistics
from .opening import Openings

FIRST_LOOK: Final = 0.01  # s after a peer was added
LOOK_GROWTH: Final = 1.3  # of the time between looks, until SELDOM; the other end may take seconds
LOOK_SHARE: Final = (
    0.0003  # s between looks for each peer; wireguard-go takes a tenth to tell of it
)
OFTEN: Final = 0.05  # s between looks while a peer is about to switch its key
OFTEN_FOR: Final = 30.0  # s; twice of what a switch takes through bmx7
SELDOM: Final = 60.0  # s between looks at peers without a session
AT_MOST: Final = 10.0  # s; the least distance between looks at sessions that age
FIRST_REPROBE: Final = 15.0  # s; WireGuard itself retries every 5 s, for 90 s
REOPEN, REOPEN_EVERY = 50, 0.1  # sessions begun at a time after a sleep, and s between
LAST_REPROBE: Final = 300.0  # s between probes of a peer that never answers
MANY_PROBES: Final = 64  # that were planned and are not any more, kept until their time comes


@dataclass(slots=True)
class _Session:
    handshake: int = 0  # ns since 1970, as the device says it
    at: float | None = None  # the same on the monotonic clock
    statistics: PeerStatistics | None = None
    probe_at: float | None = None
    probe_wait: float = FIRST_REPROBE


class Seen(NamedTuple):
    """What a look at the counters showed: public keys of peers."""

    changed: set[bytes]  # they have other counters, or are elsewhere
    shaken: set[bytes]  # of these: they completed a handshake
    roamed: set[bytes]  # of these: they are elsewhere
    aged: set[bytes]  # nothing changed, and the session is over by now


class Sessions:
    """One session per public key that is in the device."""

    def __init__(self, own_key: bytes) -> None:
        self._sessions: dict[bytes, _Session] = {}
        self._probes: list[tuple[float, bytes]] = []  # a heap of `probe_at`, and of former ones
        self._openings = Openings(own_key)
        self._looked = float("-inf")
        self._look_at: float | None = None
        self._wait = SELDOM
        self._stalled: set[bytes] = set()
        self._often_until = float("-inf")

    def install(self, keys: Iterable[bytes], now: float, *, fresh: bool) -> None:
        """These peers are in the device now.

        A fresh one is probed at once unless the other end begins; one that was there before only
        if the first look at the counters finds it without a session.
        """
        for key in keys:
            self._sessions[key] = _Session()
            if fresh:
                self._openings.begin(key, now)
                self._probe(key, None if self._openings.waits(key) else now)
            else:
                self._probe(key, now + 2 * FIRST_LOOK)
            self._look_soon(now)

    def evict(self, keys: Iterable[bytes]) -> None:
        """These peers are not in the device any more."""
        for key in keys:
            self._sessions.pop(key, None)
            self._stalled.discard(key)
            self._openings.end(key)
        if not self._sessions:
            self._look_at = None

    def __contains__(self, key: bytes) -> bool:
        return key in self._sessions

    def keys(self) -> Set[bytes]:
        return self._sessions.keys()

    def update(self, read: Mapping[bytes, PeerStatistics], now: float, wall: int) -> Seen:
        """Take in what the device says; *wall* in ns since 1970.

        A handshake's age is taken from the wall clock only within what the monotonic clock
        allows, so that a clock that jumps makes nobody old or young.
        """
        seen = Seen(set(), set(), set(), set())
        for key, session in self._sessions.items():
            now_read, before = read.get(key), session.statistics
            if now_read is None or now_read is before or now_read == before:
                if session.at is not None and now - session.at > CONNECTED_FOR:
                    if self._looked - session.at <= CONNECTED_FOR:
                        seen.aged.add(key)
                continue
            seen.changed.add(key)
            if now_read.endpoint != (before.endpoint if before else None):
                seen.roamed.add(key)
            if now_read.last_handshake and now_read.last_handshake != session.handshake:
                seen.shaken.add(key)
                age = max(0.0, (wall - now_read.last_handshake) / 1e9)
                session.at = max(now - age, self._looked)
                session.handshake = now_read.last_handshake
                session.probe_at = None
                self._openings.end(key)
            session.statistics = now_read
        self._stalled |= self._openings.take_due(now)
        self._looked = now
        self._plan_look(now)
        return seen

    def take_stalled(self) -> set[bytes]:
        """Peers to be put into the device anew, each told once, for another first handshake."""
        stalled, self._stalled = self._stalled, set()
        return stalled

    def waits_for(self, key: bytes) -> bool:
        """Whether the first handshake with a peer is left to the other end for the moment."""
        if key in self._sessions:
            return self._openings.waits(key)
        return not self._openings.first(key)  # it is about to be put into the device

    def waiting(self) -> set[bytes]:
        """The peers in the device for which `waits_for` holds."""
        return self._openings.waiting()

    @property
    def own_key(self) -> bytes:
        """This node's public key."""
        return self._openings.own_key

    @own_key.setter
    def own_key(self, key: bytes) -> None:
        self._openings.own_key = key

    def statistics(self, key: bytes) -> PeerStatistics | None:
        session = self._sessions.get(key)
        return session.statistics if session else None

    def is_connected(self, key: bytes, now: float) -> bool | None:
        """Whether the last handshake is at most 180 s old; None if there was none."""
        session = self._sessions.get(key)
        if session is None or session.at is None:
            return None
        return now - session.at <= CONNECTED_FOR

    def next_look(self) -> float | None:
        """When the device's counters should be read next."""
        return self._look_at

    @property
    def looked(self) -> float:
        """When the counters were read last."""
        return self._looked

    def probe_again(self, key: bytes, now: float) -> None:
        """Probe this peer now, session or not: it moved, or came back."""
        session = self._sessions.get(key)
        if session is not None:
            session.probe_wait = FIRST_REPROBE
            self._probe(key, now)
            self._look_soon(now)

    def look_often(self, now: float) -> None:
        """Look often for a while: a peer announced that it will switch its key."""
        self._often_until = now + OFTEN_FOR
        self._look_soon(now)

    def look_as_usual(self) -> None:
        self._often_until = float("-inf")

    def renew(self, now: float) -> None:
        """Every session ended (our own key changed): probe all, and look soon."""
        for key in self._sessions:
            self.probe_again(key, now)

    def resumed(self, away: float, now: float) -> None:
        """The machine slept for *away* seconds, which `now` does not count.

        A session is over after 180 s all the same: for the kernel, and for the other end whoever
        it is, though not for a wireguard-go here, which would use it for 15 s more. So these are
        begun anew like the first ones, some at a time.
        """
        self._looked -= away
        begun = 0
        for key, session in self._sessions.items():
            if session.at is not None:
                session.at -= away
            if self.is_connected(key, now):
                continue
            at = now + begun // REOPEN * REOPEN_EVERY
            self._openings.begin(key, at)
            self._probe(key, None if self._openings.waits(key) else at)
            session.probe_wait = FIRST_REPROBE
            begun += 1
        self._look_soon(now)

    def due_probes(self, now: float) -> list[bytes]:
        """Whom to send a datagram now; each call arranges the next one."""
        due = []
        while (when := self.next_probe()) is not None and when <= now:
            _, key = heappop(self._probes)
            session = self._sessions[key]
            due.append(key)
            session.probe_at = None
            if session.at is None:
                self._probe(key, now + session.probe_wait)
                session.probe_wait = min(2 * session.probe_wait, LAST_REPROBE)
        return due

    def next_probe(self) -> float | None:
        """When `due_probes` has something to say."""
        while self._probes and not self._is_planned(*self._probes[0]):
            heappop(self._probes)
        return self._probes[0][0] if self._probes else None

    def _probe(self, key: bytes, when: float | None) -> None:
        """Probe a peer then, instead of what was planned; None: not at all."""
        self._sessions[key].probe_at = when
        if when is None:
            return
        heappush(self._probes, (when, key))
        if len(self._probes) > 2 * len(self._sessions) + MANY_PROBES:
            self._probes = list({entry for entry in self._probes if self._is_planned(*entry)})
            heapify(self._probes)

    def _is_planned(self, when: float, key: bytes) -> bool:
        session = self._sessions.get(key)
        return session is not None and session.probe_at == when

    @property
    def _pace(self) -> float:
        """The least time between looks that nobody asked for; a few peers cost nothing."""
        pace = LOOK_SHARE * len(self._sessions)
        return pace if pace > FIRST_LOOK else 0.0

    def _look_soon(self, now: float) -> None:
        self._wait = FIRST_LOOK
        self._look_at = max(now + FIRST_LOOK, self._looked + self._pace)

    def _plan_look(self, now: float) -> None:
        if not self._sessions:
            self._look_at = None
            return
        ages = [s.at + CONNECTED_FOR for s in self._sessions.values() if s.at is not None]
        connected = [expiry for expiry in ages if expiry > now]
        look = now + SELDOM
        if len(connected) < len(self._sessions):
            self._wait = min(LOOK_GROWTH * max(self._wait, self._pace), SELDOM)
            look = now + self._wait
        if connected:
            look = min(look, max(min(connected) + 0.1, now + AT_MOST))
        if now < self._often_until:
            look = min(look, now + OFTEN)
        due = self._openings.next_due()
        self._look_at = max(look if due is None else min(look, due), now + self._pace)
