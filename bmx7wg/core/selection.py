"""The choice of gateways, kept up to date by what changes (the rules are in policy.py).

A figure to hold: of 10,000 offers and 20 searches a change of one metric costs 2 ms. So nothing
here goes through everything: what changes is noted where it counts, and settled from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import Final, NamedTuple

from .identity import NodeId
from .model import Network, Search
from .places import Area, Entry, Place, Rank
from .policy import UNKNOWN, Choice, Gateway, Group, Key, Route, Standing, Wish, Wishes

_NOTHING: Final[Mapping[Key, tuple[Entry, ...]]] = {}  # of one who offers nothing searched


class Candidate(NamedTuple):
    """A gateway that could carry a prefix."""

    gateway: Gateway
    rank: Rank
    metric: int  # of the tunnel, bit/s, without what counts for the one in use


class Situation(NamedTuple):
    """What there is to say of a prefix, for explanations."""

    candidates: tuple[Candidate, ...]  # best first
    gateway: NodeId | None
    left_to: Network | None  # the better prefix above that this one is left to
    refusal: str
    left: frozenset[NodeId]  # candidates that it was taken from within the last minute
    route: Route


class Selection:
    """Who carries which prefix, of all gateways that are `put` here.

    *refusal* tells why a prefix is not to be taken from anybody, empty if it may be; *left* has the
    gateways that a prefix was taken from lately. Changes count from the next `settle` on.
    """

    def __init__(
        self,
        searches: Collection[Search],
        refusal: Callable[[Network], str],
        left: Container[tuple[Key, NodeId]],
    ) -> None:
        self._wishes = Wishes(searches)
        self._refusal = refusal
        self._left = left
        by_group: dict[Group, list[Wish]] = {}
        for wish in self._wishes:
            by_group.setdefault(wish.group, []).append(wish)
        #: In the order in which they choose.
        self._areas = {group: Area(group, by_group[group]) for group in sorted(by_group)}
        self._by_version: dict[int, list[Area]] = {4: [], 6: []}
        for group, area in self._areas.items():
            areas = self._by_version[group.version]
            for before in areas:
                before.after.append(area)
            areas.append(area)
        self._gateways: dict[NodeId, Gateway] = {}
        self._entries: dict[NodeId, dict[Key, tuple[Entry, ...]]] = {}
        self._in_use: dict[Key, NodeId] = {}
        self._bound: dict[Key, tuple[Group, NodeId]] = {}  # as in WireGuard's trie

    # -- in ---------------------------------------------------------------------------------------

    def put(self, gateway: Gateway) -> None:
        """This is what is known of a node from now on."""
        before = self._gateways.get(gateway.node_id)
        if before == gateway:
            return
        if before is None or (before.offers, before.name) != (gateway.offers, gateway.name):
            self._forget(gateway.node_id)
            self._gateways[gateway.node_id] = gateway
            self._enter(gateway)
            return
        self._gateways[gateway.node_id] = gateway
        for entries in self._entries.get(gateway.node_id, _NOTHING).values():
            for entry in entries:
                self._rank_again(gateway, entry)

    def drop(self, node_id: NodeId) -> None:
        """This node offers nothing any more."""
        self._forget(node_id)
        self._gateways.pop(node_id, None)

    def use(self, key: Key, node_id: NodeId | None) -> None:
        """This gateway carries the prefix (None: nobody does), which counts as hysteresis."""
        before = self._in_use.pop(key, None)
        if node_id is not None:
            self._in_use[key] = node_id
        if before == node_id:
            return
        for changed in (before, node_id):
            if changed is not None:
                for entry in self._entries.get(changed, _NOTHING).get(key, ()):
                    self._weigh(changed, entry, chosen=changed == node_id)

    def recheck(self, keys: Iterable[Key] | None = None) -> None:
        """Ask again whether these prefixes (None: all) may be taken."""
        for area in self._areas.values():
            for key in area.places if keys is None else keys:
                place = area.places.get(key)
                if place is None:
                    continue
                refusal = self._refusal(place.prefix)
                if refusal != place.refusal:
                    place.refusal = refusal
                    area.touched.add(place)

    def reconsider(self, keys: Iterable[Key]) -> bool:
        """*left* has not all gateways of these prefixes any more; whether that may matter."""
        matters = False
        for key in keys:
            for area in self._by_version[key.version]:
                place = area.places.get(key)
                if place is not None and (place.blocker or place.ranks[:1] != [place.pick]):
                    place.pick = None  # so that all that hangs on it is looked at again
                    area.touched.add(place)
                    matters = True
        return matters

    # -- out --------------------------------------------------------------------------------------

    def gateways(self) -> Collection[NodeId]:
        """Those that offer something searched."""
        return self._entries.keys()

    def gateway(self, node_id: NodeId) -> Gateway | None:
        """What is known of a node that offers something."""
        return self._gateways.get(node_id)

    def settle(self) -> dict[Key, Network]:
        """Choose anew where something changed; returns the prefixes that this is about."""
        looked_at: dict[Key, Network] = {}
        for area in self._areas.values():
            if area.touched:
                for place in self._settle(area):
                    looked_at[place.key] = place.prefix
        return looked_at

    def choice(self, key: Key) -> Choice | None:
        """Who carries this prefix, None if nobody does."""
        bound = self._bound.get(key)
        if bound is None:
            return None
        routes: list[Route] = []
        for area in self._by_version[key.version]:
            place = area.places.get(key)
            kept = place.kept if place is not None else None
            if kept is not None:
                route = self._wishes[kept.order].route
                if route not in routes:
                    routes.append(route)
        return Choice(bound[1], tuple(routes))

    def situation(self, key: Key, most: int) -> Situation | None:
        """What the group that carries this prefix chose from, or the first group that would."""
        areas = self._by_version[key.version]
        places = [area.places[key] for area in areas if key in area.places]
        if not places:
            return None
        bound = self._bound.get(key)
        place = next((place for place in places if place.kept is not None), places[0])
        ranks: dict[NodeId, Rank] = {}
        for rank in place.ranks:
            ranks.setdefault(rank.node_id, rank)
            if len(ranks) == most:
                break
        if place.pick is not None:
            ranks.setdefault(place.pick.node_id, place.pick)
        return Situation(
            candidates=tuple(
                Candidate(self._gateways[node_id], rank, self._metric(key, rank))
                for node_id, rank in ranks.items()
            ),
            gateway=bound[1] if bound else None,
            left_to=place.blocker.prefix if place.blocker else None,
            refusal=place.refusal,
            left=frozenset(node_id for node_id in ranks if (key, node_id) in self._left),
            route=self._wishes[(place.pick or place.ranks[0]).order].route,
        )

    # -- inside -----------------------------------------------------------------------------------

    def _settle(self, area: Area) -> Collection[Place]:
        touched, area.touched = area.touched, set()
        changed: list[Place] = []  # those with another pick
        for place in touched:
            if place.fresh is not None:
                place.sort()
            pick = self._pick(place)
            if pick != place.pick:
                place.pick = pick
                changed.append(place)
        concerned = touched | self._block(area, changed) if area.barred else touched
        for place in concerned:
            self._bind(place)
        for place in touched:
            if not place.ranks:
                area.remove(place)
        return concerned

    def _pick(self, place: Place) -> Rank | None:
        """The best that the trie allows; one that was left has to stand better to come back."""
        key, bound = place.key, self._bound.get(place.key)
        if place.refusal or not place.ranks:
            return None
        if bound is not None and bound[0] < place.area.group:
            return place.best_of(bound[1])
        best = place.ranks[0]
        if (key, best.node_id) not in self._left:
            return best
        in_use = place.best_of(self._in_use.get(key))
        if in_use is None:
            return best
        return next(
            rank
            for rank in place.ranks
            if rank is in_use
            or rank.standing < in_use.standing
            or (key, rank.node_id) not in self._left
        )

    def _block(self, area: Area, changed: Iterable[Place]) -> set[Place]:
        """Look again at what these bar, and what bars them; returns all that was looked at."""
        places = set(changed)
        for place in changed:
            places.update(area.below(place.key))
        for place in places:
            place.blocker = self._blocker(place)
        return places

    def _blocker(self, place: Place) -> Place | None:
        """The longest prefix above that is better and may not be broken into."""
        pick = place.pick
        if pick is None:
            return None
        breaks = self._wishes[pick.order].search.break_overlap
        bar: tuple[int, ...] = pick[:2]
        if place.key not in self._in_use and (place.key, pick.node_id) in self._left:
            bar = (pick.standing + 1,)  # it was left to the one above, and stays so for a minute
        found: Place | None = None
        for other in place.area.above(place.key):
            if other.pick is None or other.pick[:2] >= bar:
                continue
            if breaks and self._wishes[other.pick.order].search.allow_overlap:
                continue
            if found is None or other.key.length > found.key.length:
                found = other
        return found

    def _bind(self, place: Place) -> None:
        """Let WireGuard's trie have what a group wants, unless a group before it has its way."""
        key, group, kept = place.key, place.area.group, place.kept
        before = self._bound.get(key)
        if before is not None and before[0] < group:
            return
        if kept is not None:
            bound = (group, kept.node_id)
            if bound == before:
                return
            self._bound[key] = bound
        elif before is not None and before[0] == group:
            del self._bound[key]
        else:
            return
        for area in place.area.after:
            other = area.places.get(key)
            if other is not None:
                area.touched.add(other)

    def _enter(self, gateway: Gateway) -> None:
        entries: dict[Key, tuple[Entry, ...]] = {}
        for offer in gateway.offers:
            offered = Key.of(offer.prefix)
            for wish in self._wishes.matching(offered):
                if wish.picky and not wish.allows(gateway):
                    continue
                if wish.key.length > offered.length:
                    key, prefix = wish.key, wish.search.network
                else:
                    key, prefix = offered, offer.prefix
                area = self._areas[wish.group]
                place = area.places.get(key)
                if place is None:
                    place = Place(key, prefix, area, self._refusal(prefix))
                    area.add(place)
                entry = Entry(place, wish, wish.quality(offer.bandwidth), offered.length)
                entry.rank = self._rank(gateway, entry)
                place.add(entry.rank)
                area.touched.add(place)
                entries[key] = (*entries.get(key, ()), entry)
        if entries:
            self._entries[gateway.node_id] = entries

    def _forget(self, node_id: NodeId) -> None:
        for entries in self._entries.pop(node_id, _NOTHING).values():
            for entry in entries:
                entry.place.remove(entry.rank)
                entry.place.area.touched.add(entry.place)

    def _rank(self, gateway: Gateway, entry: Entry) -> Rank:
        wish, standing, bonus = entry.wish, 2 * gateway.standing, 100
        if self._in_use.get(entry.place.key) == gateway.node_id:
            bonus = wish.bonus
            if gateway.standing >= Standing.DOUBTFUL:
                standing -= 1
        end_to_end = min(entry.quality, gateway.metric or UNKNOWN)
        worth = end_to_end * wish.search.rating * bonus
        return Rank(standing, -worth, gateway.node_id, wish.order, entry.length)

    def _metric(self, key: Key, rank: Rank) -> int:
        in_use = self._in_use.get(key) == rank.node_id
        return -rank.worth // (100 * (self._wishes[rank.order].bonus if in_use else 100))

    def _weigh(self, node_id: NodeId, entry: Entry, *, chosen: bool) -> None:
        """Count the hysteresis, or no longer, for one that carries its prefix or did so."""
        place, area, before = entry.place, entry.place.area, entry.rank
        gateway = self._gateways[node_id]
        picked = not place.fresh and place.pick is before and place.ranks[0] is before
        alone = not area.barred or (place.blocker is None and not area.below(place.key))
        if chosen and picked and alone:
            # It only becomes better: nothing is to be chosen anew.
            entry.rank = place.pick = place.ranks[0] = self._rank(gateway, entry)
        else:
            self._rank_again(gateway, entry)

    def _rank_again(self, gateway: Gateway, entry: Entry) -> None:
        rank = self._rank(gateway, entry)
        entry.place.area.touched.add(entry.place)  # what is said of it may differ
        if rank != entry.rank:
            entry.place.remove(entry.rank)
            entry.place.add(rank)
            entry.rank = rank
