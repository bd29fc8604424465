"""When to speak on one interface, so that a link is never flooded (design.md 3).

Two kinds of frames leave. Announcements to the group: a burst at first, then at an interval
that grows with the number of nodes. Answers to who solicits: after a delay that grows with the
number of nodes, sent to the one who asked; when several asked meanwhile, to the group. Both
are bounded by buckets, so nobody can make us talk more than that by asking.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from random import Random
from typing import Final

from .bucket import Bucket
from .limits import (
    INTERVAL_JITTER,
    LINK_GROUP,
    LINK_RATE,
    NODE_BURST,
    NODE_RATE,
    SOLICIT_JITTER,
    START_BURST,
)

GROUP: Final = IPv6Address(LINK_GROUP)
ANSWER_SPREAD: Final = 0.0025  # s of delay per node that answers too: 400 answers a second


def interval(shortest: float, nodes: int) -> float:
    """Seconds between two announcements of each of *nodes* nodes on one link."""
    return max(shortest, nodes / LINK_RATE)


class Schedule:
    """The times of one interface; *shortest* is the interval on a small link, in seconds.

    ``nodes`` is the number of nodes on the link, ourselves included; it is kept up to date by
    the owner, and moves every time that is not reached yet.
    """

    def __init__(self, shortest: float, rng: Random, now: float) -> None:
        self.nodes = 1
        self.solicit = False  # ask at the next announcement
        self._shortest = shortest
        self._rng = rng
        self._step = 0
        self._last = now  # when the last announcement went out, or the burst was asked for
        self._factor = 1.0
        # One less than what a receiver lets through: an answer may come on top.
        self._announcements = Bucket(NODE_RATE, NODE_BURST - 1, now)
        self._answers = Bucket(LINK_RATE, NODE_BURST, now)
        self._answer_at: float | None = None
        self._answer_to = GROUP

    @property
    def settled(self) -> bool:
        """Whether the burst at the start is over."""
        return self._step > len(START_BURST)

    def start(self, now: float, *, solicit: bool) -> None:
        """Begin the burst (again): something is new, or who is here is to be asked."""
        self._step = 0
        self._last = now
        self.solicit |= solicit

    def announcement_due(self) -> float:
        if self._step == 0:
            wanted = self._last
        else:
            gap = self._shortest if self.settled else START_BURST[self._step - 1]
            wanted = self._last + interval(gap, self.nodes) * self._factor
        return max(wanted, self._announcements.ready_at())

    def announced(self, now: float) -> None:
        """An announcement went to the group; it answers all who asked."""
        self._announcements.take(now)
        self._step = min(self._step + 1, len(START_BURST) + 1)
        self._last = now
        self._factor = self._rng.uniform(1 - INTERVAL_JITTER, 1 + INTERVAL_JITTER)
        self.solicit = False
        self._answer_at = None

    def solicited(self, source: IPv6Address, now: float) -> None:
        """Somebody asked, or is new here: answer soon, if the budget allows it."""
        if self._answer_at is None:
            others = max(0, self.nodes - 2)  # neither we nor the one who asked
            self._answers.rate = LINK_RATE / self.nodes
            delay = self._rng.uniform(0, min(SOLICIT_JITTER, ANSWER_SPREAD * others))
            self._answer_at = max(now + delay, self._answers.ready_at())
            self._answer_to = source
        elif self._answer_to != source:
            self._answer_to = GROUP

    def answer_due(self) -> float | None:
        if self._answer_at is None or self._answer_to != GROUP:
            return self._answer_at
        return max(self._answer_at, self._announcements.ready_at())

    def answered(self, now: float) -> IPv6Address:
        """An answer goes out now; returns its destination."""
        self._answers.take(now)
        self._answer_at = None
        if self._answer_to == GROUP:
            self.announced(now)
        return self._answer_to

    def due(self) -> float:
        """When the next frame wants to leave."""
        announcement, answer = self.announcement_due(), self.answer_due()
        return announcement if answer is None else min(announcement, answer)
