"""Which gateways networks were taken from within the last minute."""

from __future__ import annotations

from itertools import takewhile

from .identity import NodeId
from .limits import LEFT_HOLD, MAX_OFFERS
from .policy import Key


class Departures:
    """Pairs of a prefix and a gateway that carried it; each is known for a minute."""

    def __init__(self) -> None:
        self._until: dict[tuple[Key, NodeId], float] = {}  # in the order of the times

    def __contains__(self, pair: object) -> bool:
        return pair in self._until

    def add(self, key: Key, node_id: NodeId, now: float) -> None:
        """This gateway does not carry the prefix any more."""
        self._until.pop((key, node_id), None)
        self._until[key, node_id] = now + LEFT_HOLD
        if len(self._until) > MAX_OFFERS:
            del self._until[next(iter(self._until))]

    def expire(self, now: float) -> set[Key]:
        """Forget those whose time is over; returns the prefixes that they were about."""
        due = list(takewhile(lambda pair: self._until[pair] <= now, self._until))
        for pair in due:
            del self._until[pair]
        return {key for key, _ in due}

    def next_timeout(self) -> float | None:
        """When `expire` has something to do."""
        return next(iter(self._until.values()), None)
