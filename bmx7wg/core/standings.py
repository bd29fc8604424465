"""What gateways are good for, before any metric counts: who is proven, lost, failed, back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .identity import NodeId
from .limits import FAILED_HOLD
from .policy import Standing


@dataclass
class _Failure:
    until: float  # the last resort till then, and longer if it does not answer
    flaw: str
    answers: bool = False


class Standings:
    """Knows the gateways that somebody told it of, until they are forgotten.

    Who was lost or failed is good for nothing but the last resort for a minute, so that no network
    goes back and forth; then it must have answered.
    """

    def __init__(self) -> None:
        self._proven: set[NodeId] = set()
        self._lost: set[NodeId] = set()
        self._failures: dict[NodeId, _Failure] = {}

    def of(self, node_id: NodeId) -> tuple[Standing, str]:
        """Its standing, and why that is no better; a sentence without its subject."""
        failure = self._failures.get(node_id)
        if node_id in self._lost:
            return Standing.LAST_RESORT, "is lost"
        if failure is not None:
            standing = Standing.RECOVERING if failure.answers else Standing.LAST_RESORT
            return standing, failure.flaw
        return (Standing.PROVEN if node_id in self._proven else Standing.NEW), ""

    @property
    def suspects(self) -> Collection[NodeId]:
        """Those that are waited for to answer, or to prove that they last."""
        return self._failures.keys()

    def proven(self, node_id: NodeId) -> None:
        """There was a handshake, now or sometime."""
        self._proven.add(node_id)

    def lost(self, node_id: NodeId, now: float) -> None:
        """It is not announced any more."""
        if node_id not in self._lost:
            self._lost.add(node_id)
            self._failures[node_id] = _Failure(now + FAILED_HOLD, "is lost")

    def announced(self, node_id: NodeId) -> None:
        if node_id in self._lost:
            self._lost.discard(node_id)
            self.works(node_id)

    def failed(self, node_id: NodeId, now: float) -> None:
        """It does not answer."""
        self._failures[node_id] = _Failure(now + FAILED_HOLD, "does not answer")

    def works(self, node_id: NodeId) -> None:
        """It answers."""
        failure = self._failures.get(node_id)
        if failure is not None:
            failure.answers, failure.flaw = True, "failed lately"

    def forget(self, node_id: NodeId) -> None:
        self._proven.discard(node_id)
        self._lost.discard(node_id)
        self._failures.pop(node_id, None)

    def expire(self, now: float) -> tuple[list[NodeId], list[NodeId]]:
        """Those whose time is over: who is as good as before, and whom to ask for an answer."""
        restored, asked = [], []
        for node_id, failure in list(self._failures.items()):
            if now < failure.until:
                continue
            if failure.answers:
                del self._failures[node_id]
                restored.append(node_id)
            else:
                failure.until = now + FAILED_HOLD
                asked.append(node_id)
        return restored, asked

    def next_timeout(self) -> float | None:
        """When `expire` has something to do."""
        return min((failure.until for failure in self._failures.values()), default=None)
