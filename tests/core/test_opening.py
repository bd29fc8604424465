"""Who begins the first handshake; two ends are played against each other in memory."""

from __future__ import annotations

import pytest

from bmx7wg.core.opening import FIRST, FIRST_TRIES, SECOND, SECOND_TRIES, Openings

LOW, HIGH = b"\x01" * 32, b"\x02" * 32


def test_exactly_one_end_begins() -> None:
    low, high = Openings(LOW), Openings(HIGH)
    assert low.first(HIGH) and not high.first(LOW)
    low.begin(HIGH, 0.0)
    high.begin(LOW, 0.0)
    assert not low.waits(HIGH) and low.waiting() == set()
    assert high.waits(LOW) and high.waiting() == {LOW}


@pytest.mark.parametrize(
    "own, other, first, factor, tries",
    [(LOW, HIGH, FIRST, 2, FIRST_TRIES), (HIGH, LOW, SECOND, 3, SECOND_TRIES)],
)
def test_it_is_tried_again_a_few_times(
    own: bytes, other: bytes, first: float, factor: int, tries: int
) -> None:
    openings, now, waits = Openings(own), 0.0, []
    openings.begin(other, now)
    while (due := openings.next_due()) is not None:
        assert openings.take_due(due - 0.001) == set()
        assert openings.take_due(due) == {other} and openings.take_due(due) == set()
        assert not openings.waits(other)  # from now on this end tries as well
        waits.append(round(due - now, 6))
        now = due
        openings.begin(other, now)
    assert waits == [round(first * factor**n, 6) for n in range(tries)]


def test_a_handshake_ends_it_and_the_next_time_is_a_first_time() -> None:
    openings = Openings(LOW)
    for _ in range(3):
        openings.begin(HIGH, 0.0)
    openings.end(HIGH)
    assert openings.next_due() is None
    openings.begin(HIGH, 1.0)
    assert openings.next_due() == 1.0 + FIRST
    openings.end(HIGH)
    openings.end(HIGH)  # again does nothing


@pytest.mark.parametrize("ahead", [-0.2, -0.03, 0.0, 0.03, 0.2])
def test_initiations_of_the_two_ends_keep_apart(ahead: float) -> None:
    """Whichever end is there first by *ahead* seconds, one gets through before both try at once."""
    tries: dict[bytes, list[float]] = {LOW: [], HIGH: []}
    for own, other, start in ((LOW, HIGH, 0.0), (HIGH, LOW, -ahead)):
        openings, now = Openings(own), start
        openings.begin(other, now)
        if not openings.waits(other):
            tries[own].append(now)
        while (due := openings.next_due()) is not None:
            openings.take_due(due)
            tries[own].append(due)
            openings.begin(other, due)
    both = max(0.0, -ahead)  # from here on the ends know each other
    heard = [when for when in tries[LOW] + tries[HIGH] if when > both]
    soon = sorted(heard)[:2]
    assert soon[0] - both <= SECOND
    assert soon[1] - soon[0] > 0.009  # a handshake on a link takes 1 ms
