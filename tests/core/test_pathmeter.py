"""Ways measured by probes that come back late, or not at all."""

from __future__ import annotations

from bmx7wg.core.identity import NodeId
from bmx7wg.core.pathmeter import (
    IN_USE,
    LOST_IF_SUSPECT,
    LOST_IN_A_ROW,
    PATIENCE,
    PATIENCE_IF_SUSPECT,
    PROBES_PER_SECOND,
    STANDING_BY,
    PathMeter,
)

A, B = (NodeId.parse(letter * 56) for letter in "AB")


class World:
    """Time, and what becomes of each probe."""

    def __init__(self) -> None:
        self.meter = PathMeter()
        self.now = 100.0
        self.sent: list[tuple[float, NodeId]] = []
        self.round_trips: dict[NodeId, float | None] = {A: 0.02, B: 0.02}
        self.metrics: dict[NodeId, int] = {}
        self._pending: list[tuple[float, NodeId, float | None]] = []

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        pending = self._pending
        while True:
            for node, patience in self.meter.due(self.now):
                self.sent.append((self.now, node))
                answer = self.round_trips[node]
                if answer is None or answer > patience:
                    pending.append((self.now + patience, node, None))
                else:
                    pending.append((self.now + answer, node, answer))
            pending.sort(key=lambda probe: probe[0])
            self.metrics |= self.meter.news()
            times = [when for when, _, _ in pending[:1]]
            times += [when for when in [self.meter.next_due()] if when is not None]
            if not times or min(times) > end:
                self.now = end
                return
            self.now = max(self.now, min(times))
            while pending and pending[0][0] <= self.now:
                _, node, answer = pending.pop(0)
                self.meter.probed(node, answer, self.now)


def test_who_is_in_use_is_asked_more_often() -> None:
    world = World()
    world.meter.follow({A: True, B: False}, world.now)
    world.run(100)
    asked = [node for _, node in world.sent]
    assert abs(asked.count(A) - 100 / IN_USE) <= 2
    assert abs(asked.count(B) - 100 / STANDING_BY) <= 2


def test_a_longer_way_and_a_lossy_one_are_worth_less() -> None:
    world = World()
    world.round_trips = {A: 0.02, B: 0.2}
    world.meter.follow({A: True, B: True}, world.now)
    world.run(60)
    assert 9 < world.metrics[A] / world.metrics[B] < 11
    before = world.metrics[A]
    for turn in range(60):
        world.round_trips[A] = None if turn % 2 else 0.02
        world.run(IN_USE)
    assert world.metrics[A] < before / 2


def test_round_trips_in_a_lan_are_all_the_same() -> None:
    world = World()
    world.round_trips = {A: 0.0005, B: 0.004}
    world.meter.follow({A: True, B: True}, world.now)
    world.run(60)
    assert world.metrics[A] == world.metrics[B] > 0


def test_noise_is_no_news() -> None:
    world = World()
    world.meter.follow({A: True}, world.now)
    world.run(30)
    world.metrics.clear()
    for turn in range(50):
        world.round_trips[A] = 0.02 * (1.08 if turn % 2 else 0.93)
        world.run(IN_USE)
    assert world.metrics == {}


def test_nobody_is_better_than_one_in_use_that_is_not_measured_yet() -> None:
    world = World()
    world.round_trips[A] = None
    world.meter.follow({A: True, B: False}, world.now)
    world.run(LOST_IN_A_ROW * PATIENCE - 1)
    assert world.metrics == {}
    world.run(2)
    assert world.meter.failed(A) and world.metrics.keys() == {B}

    world = World()
    world.round_trips[A] = PATIENCE / 2
    world.meter.follow({A: True, B: False}, world.now)
    world.run(PATIENCE * 0.9)
    assert world.metrics == {}
    world.run(PATIENCE)
    assert world.metrics.keys() == {A, B}


def test_a_single_loss_is_less_than_the_hysteresis() -> None:
    world = World()
    world.meter.follow({A: True}, world.now)
    world.run(60)
    before = world.metrics[A]
    world.round_trips[A] = None
    world.run(IN_USE)
    world.round_trips[A] = 0.02
    world.run(60)
    assert world.metrics[A] > 0.9 * before


def test_the_first_answer_is_not_a_measurement() -> None:
    """It may have waited for a handshake."""
    world = World()
    world.round_trips[A] = 1.5
    world.meter.follow({A: True}, world.now)
    world.run(1.4)
    world.round_trips[A] = 0.01
    world.run(0.1)
    assert world.meter.answers(A) and not world.metrics.get(A)
    world.run(10)
    assert world.metrics[A] > 500_000_000


def test_a_silent_gateway_has_failed_after_ten_seconds_and_works_again_when_it_answers() -> None:
    world = World()
    world.meter.follow({A: True}, world.now)
    world.run(20)
    world.round_trips[A] = None
    world.run(LOST_IN_A_ROW * PATIENCE - 0.5)
    assert not world.meter.failed(A)
    world.run(IN_USE + 1)
    assert world.meter.failed(A) and not world.meter.answers(A)
    world.round_trips[A] = 0.02
    world.run(IN_USE + PATIENCE)
    assert world.meter.answers(A) and not world.meter.failed(A)


def test_a_suspect_fails_sooner_and_only_if_it_is_silent() -> None:
    world = World()
    world.meter.follow({A: True, B: True}, world.now)
    world.run(20.5)
    world.round_trips[A] = None
    world.meter.suspect(A, world.now)
    world.meter.suspect(B, world.now)
    world.run(LOST_IF_SUSPECT * PATIENCE_IF_SUSPECT + 0.1)
    assert world.meter.failed(A)
    assert world.meter.answers(B)


def test_who_is_not_followed_any_more_is_forgotten() -> None:
    world = World()
    world.meter.follow({A: True, B: True}, world.now)
    world.meter.due(world.now)
    world.meter.follow({B: True}, world.now)
    world.meter.probed(A, 0.01, world.now)
    assert not world.meter.answers(A) and not world.meter.failed(A)


def test_many_who_stand_by_share_a_bounded_number_of_probes() -> None:
    world = World()
    nodes = [NodeId.parse(f"{number:056X}") for number in range(1000)]
    world.round_trips = {node: 0.01 for node in nodes}
    world.meter.follow({node: False for node in nodes}, world.now)
    world.run(2 * len(nodes) / PROBES_PER_SECOND)
    world.sent.clear()
    world.run(100)
    assert len(world.sent) <= 110 * PROBES_PER_SECOND


def test_many_new_ones_are_not_asked_at_once() -> None:
    world = World()
    nodes = [NodeId.parse(f"{number:056X}") for number in range(100)]
    world.round_trips = {node: None for node in nodes}
    world.meter.follow({node: False for node in nodes}, world.now)
    world.run(1)
    assert len(world.sent) <= PROBES_PER_SECOND + 1
