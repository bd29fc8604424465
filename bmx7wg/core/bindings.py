"""Which node holds which public key, when several announce the same one (design.md 2).

A completed handshake proves a binding: the preshared key contains both node ids, so only the
true pair gets there. Until then the earlier claim has 30 s to prove itself, then the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .identity import NodeId
from .limits import CONFLICT_HOLD


@dataclass
class _Contest:
    holder: NodeId
    since: float
    proven: bool = False
    waiting: dict[NodeId, None] = field(default_factory=dict)  # in order of arrival


class Bindings:
    """Each public key's one holder; the others wait. Bounded by the number of peers."""

    def __init__(self) -> None:
        self._contests: dict[bytes, _Contest] = {}
        self._disputed: set[bytes] = set()

    def claim(self, key: bytes, node: NodeId, now: float) -> NodeId:
        """Note that *node* announces *key*; returns who holds it."""
        contest = self._contests.get(key)
        if contest is None:
            contest = self._contests[key] = _Contest(node, now)
        elif contest.holder != node and node not in contest.waiting:
            if not contest.waiting and not contest.proven:
                contest.since = now  # the 30 s run from the dispute
            contest.waiting[node] = None
            self._disputed.add(key)
        return contest.holder

    def release(self, key: bytes, node: NodeId, now: float) -> NodeId | None:
        """*node* doesn't announce *key* any more; returns the new holder if that changed it."""
        contest = self._contests.get(key)
        if contest is None:
            return None
        if contest.holder != node:
            contest.waiting.pop(node, None)
            self._settle(key, contest)
            return None
        if not contest.waiting:
            del self._contests[key]
            return None
        return self._hand_over(key, contest, now)

    def prove(self, key: bytes) -> None:
        """The holder of *key* completed a handshake: it stays."""
        contest = self._contests.get(key)
        if contest is not None:
            contest.proven = True

    def expire(self, now: float) -> list[tuple[NodeId, NodeId]]:
        """Unproven holders whose time is over, each with its successor."""
        changed = []
        for key in list(self._disputed):
            contest = self._contests[key]
            if not contest.proven and now >= contest.since + CONFLICT_HOLD:
                old = contest.holder
                contest.waiting[old] = None
                changed.append((old, self._hand_over(key, contest, now)))
        return changed

    def next_timeout(self) -> float | None:
        """When `expire` has something to do (monotonic seconds)."""
        contests = (self._contests[key] for key in self._disputed)
        return min((c.since + CONFLICT_HOLD for c in contests if not c.proven), default=None)

    def _hand_over(self, key: bytes, contest: _Contest, now: float) -> NodeId:
        contest.holder = next(iter(contest.waiting))
        del contest.waiting[contest.holder]
        contest.since, contest.proven = now, False
        self._settle(key, contest)
        return contest.holder

    def _settle(self, key: bytes, contest: _Contest) -> None:
        if not contest.waiting:
            self._disputed.discard(key)
