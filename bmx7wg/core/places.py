"""Prefixes that may be routed, with the offers of each in order: what selection.py chooses from."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable
from typing import NamedTuple

from .identity import NodeId
from .model import Network
from .policy import Group, Key, Wish


class Rank(NamedTuple):
    """What entries are sorted by: the best is the least."""

    standing: int  # that of the gateway, doubled; less 1 for one in use that failed
    worth: int  # less than 0: tunnel metric × -10,000
    node_id: NodeId
    order: int  # of the search
    length: int  # of the offered prefix


class Entry:
    """One offer of one gateway, as one search sees it."""

    __slots__ = ("place", "wish", "quality", "length", "rank")

    def __init__(self, place: Place, wish: Wish, quality: int, length: int) -> None:
        self.place, self.wish, self.quality, self.length = place, wish, quality, length
        self.rank: Rank


class Place:
    """A prefix in a group of searches, and all who could carry it."""

    __slots__ = ("key", "prefix", "area", "ranks", "fresh", "pick", "blocker", "refusal")

    def __init__(self, key: Key, prefix: Network, area: Area, refusal: str) -> None:
        self.key, self.prefix, self.area, self.refusal = key, prefix, area, refusal
        self.ranks: list[Rank] = []  # sorted
        self.fresh: list[Rank] | None = None  # to be sorted in
        self.pick: Rank | None = None  # the best that the trie allows
        self.blocker: Place | None = None  # the prefix above that this one is left to

    def add(self, rank: Rank) -> None:
        if self.fresh is not None:
            self.fresh.append(rank)
        elif self.ranks:
            self.fresh = [rank]
        else:
            self.ranks.append(rank)

    def remove(self, rank: Rank) -> None:
        if self.fresh and rank in self.fresh:
            self.fresh.remove(rank)
        else:
            del self.ranks[bisect_left(self.ranks, rank)]

    def sort(self) -> None:
        if self.fresh is not None and len(self.fresh) <= 8:
            for rank in self.fresh:
                insort(self.ranks, rank)
        elif self.fresh is not None:
            self.ranks += self.fresh
            self.ranks.sort()
        self.fresh = None

    @property
    def kept(self) -> Rank | None:
        """What this group wants the prefix to be routed by."""
        return self.pick if self.blocker is None else None

    def best_of(self, node_id: NodeId | None) -> Rank | None:
        """The first of this gateway."""
        return next((rank for rank in self.ranks if rank.node_id == node_id), None)


class Area:
    """The prefixes of one group."""

    def __init__(self, group: Group, wishes: Iterable[Wish]) -> None:
        self.group = group
        self.after: list[Area] = []  # the areas that choose after this one
        self.places: dict[Key, Place] = {}
        self.touched: set[Place] = set()
        #: Whether some search forbids overlaps; if none does, no prefix bars another.
        self.barred = any(
            not (wish.search.allow_overlap and wish.search.break_overlap) for wish in wishes
        )
        self._lengths: dict[int, int] = {}  # how many prefixes of each length there are
        self._longest = 0  # that there ever was
        self._sorted: list[Key] | None = None

    def add(self, place: Place) -> None:
        self.places[place.key] = place
        self._lengths[place.key.length] = self._lengths.get(place.key.length, 0) + 1
        self._longest = max(self._longest, place.key.length)
        self._sorted = None

    def remove(self, place: Place) -> None:
        del self.places[place.key]
        self._lengths[place.key.length] -= 1
        self._sorted = None

    def above(self, key: Key) -> Iterable[Place]:
        for length, count in self._lengths.items():
            if count and length < key.length:
                place = self.places.get(key.above(length))
                if place is not None:
                    yield place

    def below(self, key: Key) -> Collection[Place]:
        if key.length >= self._longest:
            return ()
        if self._sorted is None:
            self._sorted = sorted(self.places)
        first = bisect_right(self._sorted, key)
        end = Key(key.last + 1, -1, key.version)
        return [self.places[k] for k in self._sorted[first : bisect_left(self._sorted, end)]]
