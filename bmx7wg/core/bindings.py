"""Which node holds which public key, when several announce the same one (design.md 2).

A completed handshake proves a binding: the preshared key contains both node ids, so only the
true pair gets there. Until then the earlier claim has 30 s to prove itself, then the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from .identity import NodeId
from .limits import CONFLICT_HOLD


@dataclass(slots=True)
class _Contest:
    holder: NodeId
    since: float
    proven: bool = False


class Bindings:
    """Each public key's one holder; the others wait. Bounded by the number of peers."""

    def __init__(self) -> None:
        self._contests: dict[bytes, _Contest] = {}
        self._waiting: dict[bytes, dict[NodeId, None]] = {}  # for disputed keys, as they came

    def claim(self, key: bytes, node: NodeId, now: float) -> NodeId:
        """Note that *node* announces *key*; returns who holds it."""
        contest = self._contests.get(key)
        if contest is None:
            contest = self._contests[key] = _Contest(node, now)
        elif contest.holder != node:
            if key not in self._waiting and not contest.proven:
                contest.since = now  # the 30 s run from the dispute
            self._waiting.setdefault(key, {})[node] = None
        return contest.holder

    def release(self, key: bytes, node: NodeId, now: float) -> NodeId | None:
        """*node* doesn't announce *key* any more; returns the new holder if that changed it."""
        contest = self._contests.get(key)
        if contest is None:
            return None
        if contest.holder == node:
            if key in self._waiting:
                return self._hand_over(key, contest, now)
            del self._contests[key]
        elif key in self._waiting:
            self._leave(key, node)
        return None

    def prove(self, key: bytes) -> None:
        """The holder of *key* completed a handshake: it stays."""
        contest = self._contests.get(key)
        if contest is not None:
            contest.proven = True

    def expire(self, now: float) -> list[tuple[NodeId, NodeId]]:
        """Unproven holders whose time is over, each with its successor."""
        changed = []
        for key, waiting in list(self._waiting.items()):
            contest = self._contests[key]
            if not contest.proven and now >= contest.since + CONFLICT_HOLD:
                old = contest.holder
                waiting[old] = None
                changed.append((old, self._hand_over(key, contest, now)))
        return changed

    def next_timeout(self) -> float | None:
        """When `expire` has something to do (monotonic seconds)."""
        contests = (self._contests[key] for key in self._waiting)
        return min((c.since + CONFLICT_HOLD for c in contests if not c.proven), default=None)

    def _hand_over(self, key: bytes, contest: _Contest, now: float) -> NodeId:
        contest.holder = next(iter(self._waiting[key]))
        self._leave(key, contest.holder)
        contest.since, contest.proven = now, False
        return contest.holder

    def _leave(self, key: bytes, node: NodeId) -> None:
        """*node* does not wait for *key* any more."""
        self._waiting[key].pop(node, None)
        if not self._waiting[key]:
            del self._waiting[key]
