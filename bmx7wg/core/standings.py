"""What gateways are good for, before any metric counts: who is proven, lost, failed, back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .identity import NodeId
from .limits import FAILED_HOLD
from .policy import Standing


@dataclass
class _Doubt:
    until: float  # at least
    silent: bool  # it does not answer
    proven: bool = False  # it answered since the doubt arose


class Standings:
    """Knows the gateways that somebody told it of, until they are forgotten.

    Who was lost or failed comes after all others for a minute, so that no network goes back and
    forth; then it must have answered.
    """

    def __init__(self) -> None:
        self._proven: set[NodeId] = set()
        self._lost: set[NodeId] = set()
        self._doubts: dict[NodeId, _Doubt] = {}

    def of(self, node_id: NodeId) -> tuple[Standing, str]:
        """Its standing, and why that is no better; a sentence without its subject."""
        doubt = self._doubts.get(node_id)
        if doubt is not None and doubt.silent:
            return Standing.LAST_RESORT, "does not answer"
        if doubt is not None:
            return Standing.DOUBTFUL, "is lost" if node_id in self._lost else "failed lately"
        return (Standing.PROVEN if node_id in self._proven else Standing.NEW), ""

    @property
    def suspects(self) -> Collection[NodeId]:
        """Those that are waited for to answer, or to prove that they last."""
        return self._doubts.keys()

    def proven(self, node_id: NodeId) -> None:
        """There was a handshake, now or sometime."""
        self._proven.add(node_id)

    def lost(self, node_id: NodeId, now: float) -> None:
        """It is not announced any more."""
        if node_id not in self._lost:
            self._lost.add(node_id)
            before = self._doubts.get(node_id)
            self._doubts[node_id] = _Doubt(now + FAILED_HOLD, before is not None and before.silent)

    def announced(self, node_id: NodeId) -> None:
        if node_id in self._lost:
            self._lost.discard(node_id)
            self._doubts[node_id].proven = not self._doubts[node_id].silent

    def failed(self, node_id: NodeId, now: float) -> None:
        """It does not answer."""
        self._doubts[node_id] = _Doubt(now + FAILED_HOLD, silent=True)

    def works(self, node_id: NodeId) -> None:
        """It answers."""
        doubt = self._doubts.get(node_id)
        if doubt is not None:
            doubt.silent, doubt.proven = False, True

    def forget(self, node_id: NodeId) -> None:
        self._proven.discard(node_id)
        self._lost.discard(node_id)
        self._doubts.pop(node_id, None)

    def expire(self, now: float) -> tuple[list[NodeId], list[NodeId]]:
        """Those whose time is over: who is as good as before, and whom to ask for an answer."""
        restored, asked = [], []
        for node_id, doubt in list(self._doubts.items()):
            if now < doubt.until:
                continue
            if doubt.proven and node_id not in self._lost:
                del self._doubts[node_id]
                restored.append(node_id)
            else:
                doubt.until = now + FAILED_HOLD
                asked.append(node_id)
        return restored, asked

    def next_timeout(self) -> float | None:
        """When `expire` has something to do."""
        return min((doubt.until for doubt in self._doubts.values()), default=None)
