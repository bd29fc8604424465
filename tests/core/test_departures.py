"""Networks do not go back and forth between gateways that get worse in turn."""

from __future__ import annotations

import random
from ipaddress import ip_network

import pytest

from bmx7wg.core import departures
from bmx7wg.core.departures import Departures
from bmx7wg.core.limits import LEFT_HOLD
from bmx7wg.core.model import Network, PathMetric, Search
from bmx7wg.core.policy import Key

from .test_networks import TEN, World, node

PART = ip_network("10.1.0.0/16")
TROUBLED = 130.0  # s after which one that was lost, and is back, is as good as any other


def worth(world: World, number: int, metric: int) -> World:
    """The way to this gateway is of this metric from now on."""
    world.mesh.observe(PathMetric(node(number), metric, 1), world.now)
    return world.turn()


def test_a_gateway_that_was_left_is_not_taken_back_by_its_metric_for_a_minute() -> None:
    world = World(Search(TEN)).gateway(2, TEN, metric=1000).gateway(3, TEN, metric=900)
    worth(world, 2, 500)
    assert world.carrier(TEN) == 3 and world.why(TEN) == "better by more than the hysteresis"
    worth(world, 3, 100).wait(LEFT_HOLD - 1)
    assert world.carrier(TEN) == 3
    assert world.why(TEN, 2) == "it was left less than a minute ago"
    world.gateway(4, TEN, metric=200)
    assert world.carrier(TEN) == 4, "it was not left"
    world.wait(1)
    assert world.carrier(TEN) == 2 and world.moves == 1 + 3


def test_it_is_taken_back_at_once_if_the_one_in_use_is_lost() -> None:
    world = World(Search(TEN)).gateway(2, TEN, metric=1000).gateway(3, TEN, metric=900)
    world.gateway(4, TEN, metric=1)
    assert worth(world, 2, 500).carrier(TEN) == 3
    assert world.withdraw(3).carrier(TEN) == 2, "better than 4, which was never in use"


def test_it_is_taken_back_at_once_if_the_one_in_use_offers_it_no_more() -> None:
    world = World(Search(TEN)).gateway(2, TEN, metric=1000).gateway(3, TEN, metric=900)
    assert worth(world, 2, 500).carrier(TEN) == 3
    assert world.announce(3).turn().carrier(TEN) == 2


def test_an_offer_that_comes_and_goes_moves_nothing_back() -> None:
    world = World(Search(TEN)).gateway(2, TEN, metric=9000).gateway(3, TEN, metric=1000)
    assert world.announce(2).turn().carrier(TEN) == 3
    for _ in range(5):
        world.gateway(2, TEN, metric=9000).wait(5)
        assert world.carrier(TEN) == 3
        world.announce(2).turn().wait(5)
    world.gateway(2, TEN, metric=9000).wait(10)
    assert world.carrier(TEN) == 2 and world.moves == 3


def test_a_network_that_was_left_to_a_shorter_one_stays_there_for_a_minute() -> None:
    world = World(Search(TEN, allow_overlap=False))
    world.gateway(2, TEN, metric=1000).gateway(3, PART, metric=1300)
    assert (world.carrier(TEN), world.carrier(PART)) == (2, 3)
    worth(world, 3, 500)
    assert world.carrier(PART) == 0
    assert world.why(PART) == f"left to {TEN}, which had a better gateway less than a minute ago"
    worth(world, 3, 9000).wait(LEFT_HOLD - 1)
    assert world.carrier(PART) == 0
    assert world.wait(1).carrier(PART) == 3


class Watched(World):
    """A world that does not bear a network to come back within a minute."""

    def __init__(self, *searches: Search) -> None:
        super().__init__(*searches)
        self.carriers = {TEN: 0, PART: 0}
        self.left: dict[tuple[Network, int], float] = {}
        self.trouble: dict[int, float] = {}  # when one was lost, or came back
        self.switches = 0

    def turn(self) -> World:
        super().turn()
        for prefix, before in self.carriers.items():
            after = self.carriers[prefix] = self.carrier(prefix)
            if before == after:
                continue
            # What nobody carries was left to the network around it.
            between = before or self.carriers[TEN]
            if after and self.sound(between):
                ago = self.now - self.left.get((prefix, after), -LEFT_HOLD)
                assert ago >= LEFT_HOLD, f"{prefix} is back at {after} after {ago} s"
                self.switches += 1
            self.left[prefix, before] = self.now
        return self

    def sound(self, number: int) -> bool:
        return self.now - self.trouble.get(number, -TROUBLED) >= TROUBLED


@pytest.mark.parametrize("overlap", [True, False])
def test_whatever_happens_no_network_comes_back_within_a_minute(overlap: bool) -> None:
    switches = 0
    for seed in range(12):
        dice = random.Random(seed)
        world = Watched(Search(TEN, allow_overlap=overlap))
        there = {2: (TEN, PART), 3: (TEN, PART), 4: (PART,), 5: (TEN,)}
        for number, prefixes in there.items():
            world.gateway(number, *prefixes, metric=1000)
        lost: set[int] = set()
        for _ in range(40):
            number = dice.choice(tuple(there))
            if number in lost or dice.random() < 0.05:
                world.trouble[number] = world.now
                if number in lost:
                    world.gateway(number, *there[number], metric=1000)
                else:
                    world.withdraw(number)
                lost ^= {number}
            else:
                worth(world, number, dice.choice((500, 1000, 2000, 4000, 8000)))
            world.wait(dice.choice((1, 5, 20)))
        switches += world.switches
    assert switches > 100


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "MAX_OFFERS", 3)
    left, key = Departures(), Key.of(TEN)
    for number in (1, 2, 3, 1, 4):
        left.add(key, node(number), float(number))
    assert [(key, node(number)) in left for number in (1, 2, 3, 4)] == [True, False, True, True]
