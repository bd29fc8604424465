"""Networks between peers: what others carry for this node (design.md 6).

Fed with peers and surroundings; decides at `settle`, once a turn, so that what comes in the same
moment counts together. Who carries what then goes to the device as allowed IPs and routes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from . import explain
from .config import Config
from .departures import Departures
from .identity import NodeId
from .limits import MAX_CANDIDATES, MAX_OFFERS
from .model import (
    DesiredPeer,
    DesiredRoute,
    DesiredRule,
    Endpoint,
    Network,
    Offer,
    PeerState,
    Surroundings,
)
from .networkview import view
from .offering import Offering
from .peers import Peer
from .policy import Choice, Gateway, Key
from .prefixes import MESH, inside
from .refusals import Refusals
from .rules import rules
from .selection import Selection
from .standings import Standings
from .standins import StandIns
from .views import NetworkView

_ROUNDS: Final = 8  # of choosing; each may settle one more length of prefixes, most need two
_ANSWERING: Final = (PeerState.CONNECTED, PeerState.IDLE)


@dataclass(frozen=True)
class _Carried:
    prefix: Network
    choice: Choice
    since: float
    reason: str


class Networks:
    """Which peer carries which network for us, and what we carry for others."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._surroundings = Surroundings()
        self._offering = Offering(config)
        self._offered: dict[NodeId, int] = {}  # how much each peer offers
        self._sum = 0  # of that
        self._standings = Standings()
        self._departures = Departures()
        self._stand_ins = StandIns()  # for the peers of a device that was there before
        self._carried: dict[Key, _Carried] = {}
        self._by_node: dict[NodeId, set[Network]] = {}
        self._due: float | None = None
        self._told: dict[Key, Network] = {}  # those that somebody who looks knows of
        self._untold: dict[Key, Network] = {}
        self._offset: int | None = None  # µs from the monotonic clock to that of the wall
        self._again: dict[Key, Network] = {}  # to be looked at whether chosen anew or not
        #: Grows whenever routes or rules are different from before.
        self.revision = 0
        #: What was not taken in, by reason.
        self.refused: Counter[str] = Counter()
        self._begin()
        self._surround(0.0)

    # -- what the administrator and the system say ------------------------------------------------

    def reconfigure(self, config: Config, now: float) -> None:
        """Use this from now on; all peers have to be `put` again after it."""
        before, self._config = self._config, config
        self._offering.reconfigure(config)
        if (config.searches, config.device.firewall_mark) != (
            before.searches,
            before.device.firewall_mark,
        ):
            self._begin()
            self._touch(now)
        self.revision += 1
        self._surround(now)

    def surround(self, surroundings: Surroundings, now: float) -> None:
        """What the rest of the system has of addresses and routes changed."""
        self._surroundings = surroundings
        self._offering.surround(surroundings)
        self._surround(now)

    @property
    def tables(self) -> frozenset[int]:
        """The routing tables that `Surroundings` has to tell of."""
        return self._offering.tables

    @property
    def offers(self) -> tuple[Offer, ...]:
        """What is announced."""
        return self._offering.offers

    @property
    def left_out(self) -> int:
        """How many more there were, beyond what an announcement holds."""
        return self._offering.left_out

    # -- what the peers say -----------------------------------------------------------------------

    def put(self, peer: Peer, endpoint: Endpoint | None, now: float, *, lost: bool) -> None:
        """A peer that is wanted in the device, as it is now; its packets come from *endpoint*.

        *lost*: it is not to be counted on any more.
        """
        node_id = peer.node_id
        answers_from = endpoint.address if endpoint and peer.state in _ANSWERING else None
        self._recheck(self._refusals.endpoint(node_id, answers_from), now)
        offers = peer.announcement.networks if peer.announcement else ()
        if not offers or not self._config.searches:
            self._drop(node_id, now)
            return
        if peer.state in _ANSWERING:
            self._standings.proven(node_id)
        if lost:
            self._standings.lost(node_id, now)
        else:
            self._standings.announced(node_id)
        stand_in = self._stand_ins.relieve(peer.public_key)
        if stand_in is not None:
            self._drop(stand_in, now)
            self._pass_on(self._by_node.get(stand_in, ()), node_id, now)
        standing, flaw = self._standings.of(node_id)
        self._know(Gateway(node_id, peer.name, offers, peer.metric, standing, flaw), now)

    def remove(self, node_id: NodeId, now: float) -> None:
        """This peer is not in the device any more, or about to leave it."""
        self._drop(node_id, now)
        self._recheck(self._refusals.endpoint(node_id, None), now)

    def failed(self, node_id: NodeId, now: float) -> None:
        """This peer does not answer: what it carries goes to the next best at once."""
        if node_id in self._offered:
            self._standings.failed(node_id, now)
            self._stand(node_id, now)

    def works(self, node_id: NodeId, now: float) -> None:
        """This peer answers. One that failed lately stays the last resort for a while."""
        self._standings.works(node_id)
        self._stand(node_id, now)

    def watched(self) -> frozenset[NodeId]:
        """The peers that carry something, and those that are waited for to do so again."""
        return frozenset((*self._by_node, *self._standings.suspects))

    @property
    def chooses(self) -> bool:
        """Whether anybody offers something searched."""
        return bool(self._selection.gateways())

    def searched(self) -> dict[NodeId, bool]:
        """The peers that offer something searched; true for those that carry it."""
        return {
            node_id: node_id in self._by_node
            for node_id in self._selection.gateways()
            if node_id not in self._stand_ins
        }

    # -- a device that was there before -----------------------------------------------------------

    def adopt(
        self, peers: Iterable[DesiredPeer], holder: Callable[[bytes], NodeId | None], now: float
    ) -> None:
        """What these carry stays with them, at first until their nodes are heard of.

        *holder* tells the node that has a public key, if it is known.
        """
        if not self._config.searches:
            return
        for peer in peers:
            prefixes = [prefix for prefix in peer.allowed_ips if not inside(prefix, MESH)]
            node_id = holder(peer.public_key)
            if node_id is not None and prefixes:
                self._pass_on(prefixes, node_id, now)
            elif prefixes:
                self._know(self._stand_ins.add(peer.public_key, prefixes, now), now)

    def _pass_on(self, prefixes: Iterable[Network], node_id: NodeId, now: float) -> None:
        self._standings.proven(node_id)
        for prefix in prefixes:
            self._selection.use(Key.of(prefix), node_id)
        self._stand(node_id, now)
        self._touch(now)

    # -- time -------------------------------------------------------------------------------------

    def clock(self, now: float, wall: int) -> None:
        """What the time is for people; *wall* in ns since 1970."""
        if self._offset is None:
            self._offset = wall // 1000 - round(now * 1e6)
            self._untold.update((key, carried.prefix) for key, carried in self._carried.items())

    def next_timeout(self) -> float | None:
        """When `settle` has something to do."""
        times = (
            self._due,
            self._stand_ins.next_timeout(),
            self._standings.next_timeout(),
            self._departures.next_timeout(),
        )
        return min((time for time in times if time is not None), default=None)

    def due_calls(self, now: float) -> list[NodeId]:
        """The peers that failed, and may have recovered: to be probed, to see whether they did."""
        restored, asked = self._standings.expire(now)
        for node_id in restored:
            self._stand(node_id, now)
        return asked

    def settle(self, now: float) -> Collection[NodeId] | None:
        """Decide. Returns the peers that now carry something else than before.

        None if there was nothing to decide.
        """
        for stand_in in self._stand_ins.expire(now):
            self._drop(stand_in, now)
        if self._selection.reconsider(self._departures.expire(now)):
            self._touch(now)
        if self._due is None:
            return None
        self._due = None
        changed: set[NodeId] = set()
        for _ in range(_ROUNDS):
            looked_at = self._selection.settle() | self._again
            self._again = {}
            if not looked_at:
                break
            self._untold.update(looked_at)
            for key, prefix in looked_at.items():
                changed |= self._follow(key, prefix, now)
        return changed

    # -- out --------------------------------------------------------------------------------------

    def carried_by(self, node_id: NodeId) -> frozenset[Network]:
        """What goes through this peer."""
        return frozenset(self._by_node.get(node_id, ()))

    def routes(self) -> tuple[DesiredRoute, ...]:
        """A route for each prefix that is carried, in each table that it is wanted in."""
        routes = [
            DesiredRoute(carried.prefix, route.table, route.metric)
            for _, carried in sorted(self._carried.items())
            for route in carried.choice.routes
        ]
        return tuple(routes)

    def rules(self) -> tuple[DesiredRule, ...]:
        """What leads to the tables that these routes are in."""
        return rules(self._config.searches, self._config.device.firewall_mark)

    @property
    def has_changes(self) -> bool:
        return bool(self._untold)

    def changes(self) -> tuple[tuple[NetworkView, ...], tuple[Network, ...]]:
        """The networks that look different since the last call, and those that are gone."""
        views, gone = [], []
        for key, prefix in sorted(self._untold.items()):
            shown = self._view(key, prefix)
            if shown is not None:
                self._told[key] = prefix
                views.append(shown)
            elif self._told.pop(key, None):
                gone.append(prefix)
        self._untold.clear()
        return tuple(views), tuple(gone)

    # -- inside -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Choose among other searches from now on; who carries what still counts."""
        self._refusals = Refusals(marked=bool(self._config.device.firewall_mark))
        self._selection = Selection(self._config.searches, self._refusals, self._departures)
        self._offered.clear()
        self._sum = 0
        for gateway in self._stand_ins.gateways:
            self._selection.put(gateway)
        for key, carried in self._carried.items():
            self._selection.use(key, carried.choice.gateway)
        self._again = {key: carried.prefix for key, carried in self._carried.items()} | self._told

    def _touch(self, now: float) -> None:
        """There is something to decide."""
        self._due = now if self._due is None else self._due

    def _surround(self, now: float) -> None:
        if self._refusals.surround(self._config, self.offers, self._surroundings):
            self._recheck(None, now)

    def _recheck(self, keys: Collection[Key] | None, now: float) -> None:
        if keys is None or keys:
            self._selection.recheck(keys)
            self._touch(now)

    def _know(self, gateway: Gateway, now: float) -> None:
        node_id, number = gateway.node_id, len(gateway.offers)
        if self._selection.gateway(node_id) == gateway:
            return
        total = self._sum + number - self._offered.get(node_id, 0)
        if total > MAX_OFFERS:
            self.refused["too-many-offers"] += 1
            self._drop(node_id, now)
            return
        self._offered[node_id], self._sum = number, total
        self._selection.put(gateway)
        self._touch(now)

    def _drop(self, node_id: NodeId, now: float) -> None:
        if node_id in self._offered:
            self._sum -= self._offered.pop(node_id)
            self._standings.forget(node_id)
            self._selection.drop(node_id)
            self._touch(now)

    def _stand(self, node_id: NodeId, now: float) -> None:
        gateway = self._selection.gateway(node_id)
        if gateway is not None:
            standing, flaw = self._standings.of(node_id)
            self._know(replace(gateway, standing=standing, flaw=flaw), now)

    def _follow(self, key: Key, prefix: Network, now: float) -> set[NodeId]:
        """Let a prefix be carried as it was chosen; returns the peers that this is about."""
        choice, before = self._selection.choice(key), self._carried.get(key)
        if choice == (before.choice if before else None):
            return set()
        self.revision += 1
        old, new = (before.choice.gateway if before else None), choice.gateway if choice else None
        since, reason = (before.since, before.reason) if before else (now, "")
        if old != new:
            since, reason = now, self._reason(key, old, new)
            self._selection.use(key, new)
            if old is not None:
                self._departures.add(key, old, now)
                self._by_node[old].discard(prefix)
                if not self._by_node[old]:
                    del self._by_node[old]
            if new is not None:
                self._by_node.setdefault(new, set()).add(prefix)
        if choice is None:
            del self._carried[key]
        else:
            self._carried[key] = _Carried(prefix, choice, since, reason)
        return {node_id for node_id in (old, new) if node_id is not None and old != new}

    def _reason(self, key: Key, old: NodeId | None, new: NodeId | None) -> str:
        situation = self._selection.situation(key, MAX_CANDIDATES)
        if situation is None or new is None:
            return explain.unchosen(situation)
        if new in self._stand_ins:
            return "it was there before this service started"
        if old is None:
            return explain.chosen(situation)
        return explain.switched(situation, self._selection.gateway(old))

    def _view(self, key: Key, prefix: Network) -> NetworkView | None:
        situation = self._selection.situation(key, MAX_CANDIDATES)
        if situation is None:
            return None
        carried, since = self._carried.get(key), 0
        if carried is not None and self._offset is not None:
            since = round(carried.since * 1e6) + self._offset
        reason = carried.reason if carried else explain.unchosen(situation)
        return view(prefix, situation, since=since, reason=reason, hidden=self._stand_ins)
