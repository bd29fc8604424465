"""The choice of gateways, against a plain reading of its rules (bmx7wg/core/policy.py).

The reading knows prefixes as strings of bits, and looks at everything for every answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest

from bmx7wg.core.identity import NodeId
from bmx7wg.core.model import Network, Offer, Search
from bmx7wg.core.policy import Choice, Gateway, Key, Route, Standing
from bmx7wg.core.searches import name_of
from bmx7wg.core.selection import Selection

NODES = [NodeId(bytes([number]) * 28) for number in range(1, 7)]
TEN, PART, OTHER = (ip_network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"))


def bits(prefix: Network) -> str:
    text = format(int(prefix.network_address), f"0{prefix.max_prefixlen}b")
    return f"{prefix.version}:" + text[: prefix.prefixlen]


@dataclass
class World:
    """All that a choice is made of."""

    searches: tuple[Search, ...]
    gateways: dict[NodeId, Gateway] = field(default_factory=dict)
    in_use: dict[Network, NodeId] = field(default_factory=dict)
    left: set[tuple[Key, NodeId]] = field(default_factory=set)  # within the last minute
    refused: set[Network] = field(default_factory=set)


@dataclass(frozen=True)
class Candidate:
    rank: tuple[int, float, NodeId, tuple[int, str], int]
    search: Search
    prefix: Network
    node_id: NodeId


def plain_reading(world: World) -> dict[Network, Choice]:
    """The rules, word for word, with no thought of speed."""
    chosen: dict[Network, NodeId] = {}
    routes: dict[Network, list[Route]] = {}
    groups = {(s.rule, s.metric, s.network.version) for s in world.searches}
    for group in sorted(groups):
        best: dict[Network, Candidate] = {}
        offered = list(candidates(world, group))
        for candidate in offered:
            prefix = candidate.prefix
            if prefix in world.refused or chosen.get(prefix) not in (None, candidate.node_id):
                continue
            if prefix not in chosen and any(
                was_left(world, candidate)
                and other.prefix == prefix
                and other.node_id == world.in_use.get(prefix) != candidate.node_id
                and other.rank[0] <= candidate.rank[0]
                for other in offered
            ):
                continue
            if prefix not in best or candidate.rank < best[prefix].rank:
                best[prefix] = candidate
        for prefix, mine in best.items():
            better_above = any(
                bits(prefix).startswith(bits(shorter)) and shorter != prefix
                # standing and tunnel metric
                and (
                    other.rank[:2] < mine.rank[:2]
                    or (was_left(world, mine) and prefix not in world.in_use)
                    and other.rank[0] <= mine.rank[0]
                )
                and not (other.search.allow_overlap and mine.search.break_overlap)
                for shorter, other in best.items()
            )
            if not better_above:
                chosen[prefix] = mine.node_id
                route = Route(mine.search.table, mine.search.metric)
                routes.setdefault(prefix, []).append(route)
    return {
        prefix: Choice(node_id, tuple(dict.fromkeys(routes[prefix])))
        for prefix, node_id in chosen.items()
    }


def was_left(world: World, candidate: Candidate) -> bool:
    return (Key.of(candidate.prefix), candidate.node_id) in world.left


def candidates(world: World, group: tuple[int, int, int]) -> Iterator[Candidate]:
    for search in world.searches:
        if (search.rule, search.metric, search.network.version) != group:
            continue
        low = search.min_prefix_length
        low = search.network.prefixlen if low == -1 else low
        for gateway in world.gateways.values():
            if search.gateway_id not in (None, gateway.node_id):
                continue
            if search.gateway_name not in ("", gateway.name):
                continue
            for offer in gateway.offers:
                one, other = sorted((bits(search.network), bits(offer.prefix)), key=len)
                if not other.startswith(one):
                    continue
                if not low <= offer.prefix.prefixlen <= search.max_prefix_length:
                    continue
                prefix = max(search.network, offer.prefix, key=lambda p: p.prefixlen)
                enough = offer.bandwidth >= search.min_bandwidth
                path = gateway.metric or 1
                metric = path if enough else min(path, offer.bandwidth)
                tunnel_metric = metric * search.rating / 100
                in_use = world.in_use.get(prefix) == gateway.node_id
                standing = int(gateway.standing) * 10
                if in_use:
                    tunnel_metric *= (100 + search.hysteresis) / 100
                    standing -= gateway.standing >= Standing.DOUBTFUL
                rank = (
                    standing,
                    -round(tunnel_metric, 4),
                    gateway.node_id,
                    (-search.network.prefixlen, name_of(search)),
                    offer.prefix.prefixlen,
                )
                yield Candidate(rank, search, prefix, gateway.node_id)


class Chooser:
    """A selection, and what it answered so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.selection = Selection(world.searches, self._refusal, world.left)
        self.choices: dict[Network, Choice] = {}
        for gateway in world.gateways.values():
            self.selection.put(gateway)
        for prefix, node_id in world.in_use.items():
            self.selection.use(Key.of(prefix), node_id)

    def _refusal(self, prefix: Network) -> str:
        return "refused" if prefix in self.world.refused else ""

    def choose(self) -> dict[Network, Choice]:
        for key, prefix in self.selection.settle().items():
            choice = self.selection.choice(key)
            if choice is None:
                self.choices.pop(prefix, None)
            else:
                self.choices[prefix] = choice
        return self.choices


#: Few, and inside each other, so that they meet.
PREFIXES = [
    ip_network(text)
    for text in ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9", "10.64.0.0/10", "10.64.0.0/16")
    + ("10.128.0.0/16", "10.64.3.0/24", "10.64.3.7", "::/0", "2001:db8::/32", "2001:db8:1::/48")
]


class Dice:
    """Worlds and what may happen in them, of one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def world(self) -> World:
        searches = [self._search(name) for name in "abcd"[: self._random.randint(1, 4)]]
        world = World(tuple(searches))
        for node_id in NODES[: self._random.randint(1, 5)]:
            world.gateways[node_id] = self._gateway(node_id)
        return world

    def _search(self, name: str) -> Search:
        pick, network = self._random.choice, self._random.choice(PREFIXES)
        low = pick((-1, -1, 0, network.prefixlen, max(0, network.prefixlen - 8)))
        return Search(
            network,
            name,
            min_prefix_length=low,
            max_prefix_length=pick((128, 128, network.prefixlen, 24)),
            gateway_name=pick(("", "", "", "n1", "n2")),
            gateway_id=pick((None, None, None, *NODES[:2])),
            min_bandwidth=pick((36, 1000, 5000)),
            rating=pick((100, 100, 50, 250)),
            hysteresis=pick((20, 20, 0, 100)),
            metric=pick((1024, 1024, 5)),
            table=pick((77, 77, 78)),
            rule=pick((30077, 30077, 100)),
            allow_overlap=pick((True, False)),
            break_overlap=pick((True, False)),
        )

    def _gateway(self, node_id: NodeId) -> Gateway:
        number = self._random.randint(0, 4)
        offers = tuple(
            Offer(prefix, self._random.choice((36, 1000, 4000, 10_000)))
            for prefix in self._random.sample(PREFIXES, number)
        )
        name = f"n{self._random.randint(1, 3)}"
        return Gateway(node_id, name, offers, self._metric(), self._standing())

    def _metric(self) -> int:
        return self._random.choice((0, 500, 1000, 1100, 1300, 4000, 4000, 5000))

    def _standing(self) -> Standing:
        return self._random.choice((Standing.PROVEN, Standing.PROVEN, *Standing))

    def happen(self, world: World, chooser: Chooser) -> None:
        """Change one thing, in the world and for who keeps up with it."""
        node_id, prefix = self._random.choice(NODES[:5]), self._random.choice(PREFIXES)
        match self._random.randrange(9):
            case 0 | 1:
                gateway = world.gateways.get(node_id) or self._gateway(node_id)
                world.gateways[node_id] = replace(gateway, metric=self._metric())
                chooser.selection.put(world.gateways[node_id])
            case 2:
                gateway = world.gateways.get(node_id) or self._gateway(node_id)
                world.gateways[node_id] = replace(gateway, standing=self._standing())
                chooser.selection.put(world.gateways[node_id])
            case 3:
                world.gateways[node_id] = self._gateway(node_id)
                chooser.selection.put(world.gateways[node_id])
            case 4:
                world.gateways.pop(node_id, None)
                chooser.selection.drop(node_id)
            case 5 | 6:
                before = world.in_use
                world.in_use = {where: choice.gateway for where, choice in chooser.choices.items()}
                for where in PREFIXES:
                    chooser.selection.use(Key.of(where), world.in_use.get(where))
                    if where in before and before[where] != world.in_use.get(where):
                        world.left.add((Key.of(where), before[where]))
            case 7 if world.left:
                over = self._random.sample(sorted(world.left), 1)
                world.left.difference_update(over)
                chooser.selection.reconsider(key for key, _ in over)
            case _:
                world.refused ^= {prefix}
                chooser.selection.recheck([Key.of(prefix)])

    def shuffled(self, world: World) -> World:
        gateways = list(world.gateways.items())
        self._random.shuffle(gateways)
        searches = list(world.searches)
        self._random.shuffle(searches)
        return replace(world, gateways=dict(gateways), searches=tuple(searches))


def compare(worlds: int, steps: int, first: int) -> None:
    for seed in range(first, first + worlds):
        dice = Dice(seed)
        world = dice.world()
        chooser = Chooser(world)
        for step in range(steps):
            assert chooser.choose() == plain_reading(world), f"seed {seed}, step {step}: {world}"
            dice.happen(world, chooser)
        scratch = Chooser(dice.shuffled(world)).choose()
        assert chooser.choose() == scratch, f"seed {seed}: the order of arrival counted"


def test_it_chooses_as_the_rules_say() -> None:
    compare(worlds=500, steps=24, first=0)


@pytest.mark.slow
def test_it_chooses_as_the_rules_say_a_hundred_thousand_times() -> None:
    compare(worlds=4200, steps=24, first=10_000)


def gateway(number: int, *prefixes: Network, metric: int = 1000, bandwidth: int = 1000) -> Gateway:
    offers = tuple(Offer(prefix, bandwidth) for prefix in prefixes)
    return Gateway(NODES[number - 1], f"n{number}", offers, metric)


def carried(*gateways: Gateway, searches: tuple[Search, ...]) -> dict[str, int]:
    """Who carries what: text of the prefix → number of the node."""
    chooser = Chooser(World(searches, {gateway.node_id: gateway for gateway in gateways}))
    return {str(p): NODES.index(choice.gateway) + 1 for p, choice in chooser.choose().items()}


def test_the_best_way_wins() -> None:
    search = (Search(TEN),)
    assert carried(gateway(1, TEN), gateway(2, TEN, metric=1001), searches=search) == {
        "10.0.0.0/8": 2
    }
    assert carried(gateway(2, TEN), gateway(1, TEN), searches=search) == {"10.0.0.0/8": 1}
    assert carried(gateway(1, TEN, metric=0), gateway(2, TEN, metric=1), searches=search) == {
        "10.0.0.0/8": 1
    }, "a way that is not known is the worst there is, and node ids decide"


def test_more_bandwidth_than_wanted_is_no_merit() -> None:
    narrow = gateway(1, TEN, metric=9000, bandwidth=2000)
    wide = gateway(2, TEN, metric=8000, bandwidth=5000)
    assert carried(narrow, wide, searches=(Search(TEN),)) == {"10.0.0.0/8": 1}
    assert carried(narrow, wide, searches=(Search(TEN, min_bandwidth=4000),)) == {"10.0.0.0/8": 2}


def test_the_longer_prefix_is_routed() -> None:
    assert carried(gateway(1, PART), searches=(Search(TEN),)) == {"10.1.0.0/16": 1}
    assert carried(gateway(1, TEN), searches=(Search(PART),)) == {}
    assert carried(gateway(1, TEN), searches=(Search(PART, min_prefix_length=8),)) == {
        "10.1.0.0/16": 1
    }
    assert carried(gateway(1, PART), searches=(Search(TEN, max_prefix_length=15),)) == {}
    assert carried(gateway(1, PART), searches=(Search(OTHER, min_prefix_length=0),)) == {}


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize("breaks", [True, False])
def test_a_better_network_is_only_broken_into_if_both_sides_agree(
    allow: bool, breaks: bool
) -> None:
    searches = (Search(TEN, allow_overlap=allow), Search(PART, break_overlap=breaks))
    better, worse = gateway(1, TEN, metric=2000), gateway(2, PART, metric=1000)
    found = carried(better, worse, searches=searches)
    whole = {"10.0.0.0/8": 1}
    assert found == (whole | {"10.1.0.0/16": 2} if allow and breaks else whole)
    assert carried(gateway(1, TEN), gateway(2, PART), searches=searches).keys() == {
        "10.0.0.0/8",
        "10.1.0.0/16",
    }, "as good is good enough"


def test_one_prefix_has_one_gateway_in_all_tables() -> None:
    searches = (
        Search(TEN, "far", gateway_id=NODES[1], table=78, rule=200),
        Search(TEN, "near", rule=100),
    )
    chooser = Chooser(World(searches, {n.node_id: n for n in (gateway(1, TEN), gateway(2, TEN))}))
    assert chooser.choose() == {TEN: Choice(NODES[0], (Route(77, 1024),))}
    chooser.selection.drop(NODES[0])
    assert chooser.choose() == {TEN: Choice(NODES[1], (Route(77, 1024), Route(78, 1024)))}


def test_within_the_hysteresis_nothing_moves() -> None:
    dice = random.Random(7)
    chooser = Chooser(World((Search(TEN, hysteresis=20),), {}))
    chooser.selection.put(gateway(2, TEN, metric=1000))
    chooser.choose()
    chooser.selection.use(Key.of(TEN), NODES[1])
    for _ in range(1000):
        for number in (1, 2, 3):
            chooser.selection.put(gateway(number, TEN, metric=dice.randint(1000, 1199)))
        assert chooser.choose()[TEN].gateway == NODES[1]
    chooser.selection.put(gateway(2, TEN, metric=1000))
    chooser.selection.put(gateway(3, TEN, metric=1201))
    assert chooser.choose()[TEN].gateway == NODES[2]


def test_the_standing_counts_more_than_the_metric() -> None:
    best = replace(gateway(1, TEN, metric=9000), standing=Standing.LAST_RESORT)
    new = replace(gateway(2, TEN, metric=5000), standing=Standing.NEW)
    search = (Search(TEN),)
    assert carried(best, new, gateway(3, TEN, metric=0), searches=search) == {"10.0.0.0/8": 3}
    assert carried(best, new, searches=search) == {"10.0.0.0/8": 2}
    assert carried(best, searches=search) == {"10.0.0.0/8": 1}


def test_keys() -> None:
    four, six = IPv4Network("10.1.0.0/16"), IPv6Network("2001:db8::/32")
    assert Key.of(four).above(8) == Key.of(TEN)
    assert Key.of(TEN).last == int(TEN.broadcast_address)
    assert Key.of(six).last == int(six.broadcast_address)
    assert Key.of(ip_network("::/0")).last == 2**128 - 1
