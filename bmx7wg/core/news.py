"""Which peers look different to those who look, and have not been told of yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Final

from .identity import NodeId

SHOWN_AT_ONCE: Final = 250  # peers; to show them takes 20 ms, and others wait meanwhile


class News:
    """Peers that changed, peers that are gone, and peers of which only the counters changed.

    No signal tells of counters (design.md 7), so these are left until somebody asks.
    """

    def __init__(self) -> None:
        # In the order in which they are told; a set of thousands takes three times the memory.
        self._seen: dict[NodeId, None] = {}  # peers that somebody who looks knows of
        self._changed: dict[NodeId, None] = {}
        self._counted: dict[NodeId, None] = {}
        self._asked: dict[NodeId, None] = {}  # the same, and somebody asked
        self._gone: dict[NodeId, None] = {}

    def __bool__(self) -> bool:
        return bool(self._changed or self._asked or self._gone)

    def changed(self, node_id: NodeId) -> None:
        self._changed[node_id] = None

    def counted(self, node_id: NodeId) -> None:
        """Only the counters of this peer changed."""
        self._counted[node_id] = None

    def settled(self, changed: Collection[NodeId], gone: Collection[NodeId]) -> None:
        """These peers changed, or are gone, whatever was said of them before."""
        self._changed |= dict.fromkeys(changed)
        _leave_out(self._changed, gone)
        _leave_out(self._counted, gone)
        _leave_out(self._asked, gone)
        self._gone |= dict.fromkeys(gone)
        _leave_out(self._gone, changed)

    def show_counters(self) -> bool:
        """Tell of the counters, too; false if there is nothing new."""
        self._asked |= self._counted
        self._counted = {}
        return bool(self._asked)

    def take(self) -> tuple[Collection[NodeId], Collection[NodeId], Collection[NodeId]]:
        """The peers to show now, those of which only the counters are to be shown, and those
        that are gone; of many only some.
        """
        shown = dict.fromkeys(islice(self._changed, SHOWN_AT_ONCE))
        asked = dict.fromkeys(islice(self._asked, SHOWN_AT_ONCE))
        removed = dict.fromkeys(islice(self._gone, SHOWN_AT_ONCE))
        counted = [n for n in asked if n in self._seen and n not in self._changed]
        gone = [node_id for node_id in removed if node_id in self._seen]
        self._seen |= shown
        _leave_out(self._seen, removed)
        _leave_out(self._changed, shown)
        _leave_out(self._counted, shown)
        _leave_out(self._asked, asked)
        _leave_out(self._gone, removed)
        return shown, counted, gone


def _leave_out(known: dict[NodeId, None], others: Iterable[NodeId]) -> None:
    for node_id in others:
        known.pop(node_id, None)
