from __future__ import annotations

from bmx7wg.core.limits import CONNECTED_FOR
from bmx7wg.core.model import PeerStatistics
from bmx7wg.core.opening import FIRST, FIRST_TRIES
from bmx7wg.core.sessions import (
    FIRST_LOOK,
    FIRST_REPROBE,
    LAST_REPROBE,
    LOOK_GROWTH,
    SELDOM,
    Sessions,
)

OWN, K, L = b"a" * 32, b"k" * 32, b"l" * 32  # we begin with both
WALL = 1_700_000_000 * 10**9  # ns


def shaken(at: float, *, rx: int = 0) -> PeerStatistics:
    """Counters with a handshake *at* seconds after WALL."""
    return PeerStatistics(WALL + int(at * 1e9), rx, 0)


NEVER = PeerStatistics(0, 0, 148)


def test_a_new_peer_is_probed_at_once_and_looked_at_soon() -> None:
    sessions = Sessions(OWN)
    sessions.install([K], 0.0, fresh=True)
    assert sessions.due_probes(0.0) == [K]
    assert sessions.due_probes(0.0) == []
    assert sessions.next_look() == FIRST_LOOK
    assert sessions.is_connected(K, 0.0) is None


def test_a_peer_that_does_not_answer_is_looked_at_and_probed_ever_more_seldom() -> None:
    sessions, now = Sessions(OWN), 0.0
    sessions.install([K], now, fresh=True)
    looks, probes = [], []
    while now < 3600:
        if sessions.due_probes(now):
            probes.append(now)
        look = sessions.next_look()
        assert look is not None
        if now >= look:
            sessions.update({K: NEVER}, now, WALL)
            looks.append(now)
        times = [t for t in (sessions.next_look(), sessions.next_probe()) if t is not None]
        assert min(times) > now
        now = min(times)
    gaps = [b - a for a, b in zip(looks, looks[1:])]
    assert round(gaps[0], 6) == round(LOOK_GROWTH * FIRST_LOOK, 6)
    assert round(max(gaps), 6) == SELDOM and len(looks) < 100
    waits = [b - a for a, b in zip(probes, probes[1:])]
    assert waits[0] == FIRST_REPROBE and max(waits) == LAST_REPROBE and len(probes) < 20


def test_a_first_handshake_that_is_overdue_is_told_a_few_times() -> None:
    sessions, now, told = Sessions(OWN), 0.0, []
    sessions.install([K, L], now, fresh=True)
    while now < 30.0:
        look = sessions.next_look()
        assert look is not None and look > now
        now = look
        sessions.update({K: NEVER, L: shaken(0.01)}, now, WALL + int(now * 1e9))
        if stalled := sessions.take_stalled():
            assert stalled == {K} and sessions.take_stalled() == set()
            told.append(now)
            sessions.install(stalled, now, fresh=True)
    assert len(told) == FIRST_TRIES
    for number, (begun, end) in enumerate(zip([0.0, *told], told)):
        assert round(end - begun, 6) == FIRST * 2**number


def test_a_peer_that_was_there_before_is_not_put_in_anew() -> None:
    sessions = Sessions(OWN)
    sessions.install([K], 0.0, fresh=False)
    sessions.update({K: NEVER}, 60.0, WALL)
    assert sessions.take_stalled() == set()
    sessions.install([L], 60.0, fresh=True)
    sessions.update({K: NEVER, L: NEVER}, 61.0, WALL)
    sessions.evict([L])
    assert sessions.take_stalled() == set()  # it has left meanwhile


def test_a_handshake_ends_the_probing_and_ages() -> None:
    sessions = Sessions(OWN)
    sessions.install([K, L], 0.0, fresh=True)
    sessions.due_probes(0.0)
    seen = sessions.update({K: shaken(0.01), L: NEVER}, 0.02, WALL + 20_000_000)
    assert seen == ({K, L}, {K}, set(), set())
    assert sessions.is_connected(K, 0.02) and sessions.is_connected(L, 0.02) is None
    assert sessions.update({K: shaken(0.01), L: NEVER}, 0.5, WALL) == (set(),) * 4
    assert sessions.is_connected(K, CONNECTED_FOR)
    assert sessions.is_connected(K, CONNECTED_FOR + 0.1) is False
    same = {K: shaken(0.01), L: NEVER}
    assert sessions.update(same, CONNECTED_FOR + 0.1, WALL) == (set(), set(), set(), {K})
    assert sessions.update(same, CONNECTED_FOR + 1.0, WALL) == (set(),) * 4, "told once"
    assert K not in sessions.due_probes(1000.0)


def test_a_clock_that_jumps_makes_nobody_old_or_young() -> None:
    sessions = Sessions(OWN)
    sessions.install([K], 0.0, fresh=True)
    sessions.update({K: NEVER}, 10.0, WALL)
    year = 365 * 86400 * 10**9
    # Shaken between two looks, and the clock is a year ahead when we see it.
    sessions.update({K: shaken(11)}, 12.0, WALL + year)
    assert sessions.is_connected(K, 10.0 + CONNECTED_FOR)
    assert sessions.is_connected(K, 12.0 + CONNECTED_FOR + 1) is False
    # The next one, and the clock is a year behind.
    sessions.update({K: shaken(200)}, 201.0, WALL - year)
    assert sessions.is_connected(K, 201.0 + CONNECTED_FOR)


def test_an_adopted_peer_is_probed_only_if_it_has_no_session() -> None:
    sessions = Sessions(OWN)
    sessions.install([K, L], 0.0, fresh=False)
    assert sessions.due_probes(0.0) == []
    sessions.update({K: shaken(-100), L: NEVER}, FIRST_LOOK, WALL)
    assert sessions.due_probes(2 * FIRST_LOOK) == [L]
    assert sessions.is_connected(K, 50.0)
    assert sessions.is_connected(K, 90.0) is False


def test_a_peer_that_moved_is_probed_whatever_its_session() -> None:
    sessions = Sessions(OWN)
    sessions.install([K], 0.0, fresh=True)
    sessions.due_probes(0.0)
    sessions.update({K: shaken(0)}, 0.1, WALL)
    assert sessions.due_probes(1.0) == []
    sessions.probe_again(K, 1.0)
    assert sessions.due_probes(1.0) == [K]
    assert sessions.due_probes(1000.0) == []


def test_nothing_to_do_without_peers() -> None:
    sessions = Sessions(OWN)
    sessions.install([K], 0.0, fresh=True)
    sessions.evict([K, L])
    assert sessions.next_look() is None and sessions.next_probe() is None
    assert sessions.update({K: NEVER}, 1.0, WALL) == (set(),) * 4
    assert sessions.statistics(K) is None and K not in sessions


def test_sessions_that_all_stand_are_looked_at_when_the_first_may_end() -> None:
    sessions = Sessions(OWN)
    sessions.install([K, L], 0.0, fresh=True)
    sessions.update({K: shaken(0), L: shaken(0)}, 0.1, WALL)
    assert sessions.next_look() == 0.1 + SELDOM
    sessions.update({K: shaken(0), L: shaken(0)}, 150.0, WALL)
    look = sessions.next_look()
    assert look is not None and CONNECTED_FOR < look < CONNECTED_FOR + 1
