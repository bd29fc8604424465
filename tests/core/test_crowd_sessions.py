"""Sessions with a crowd that never answers: what they cost the service has a bound."""

from __future__ import annotations

from bmx7wg.core.model import PeerStatistics
from bmx7wg.core.opening import FIRST, FIRST_TRIES, Openings
from bmx7wg.core.sessions import LOOK_SHARE, MANY_PROBES, Sessions

OWN = bytes(32)
SIZE = 1000
CROWD = [(number + 1).to_bytes(32, "big") for number in range(SIZE)]
NEVER = PeerStatistics(0, 0, 148)


def test_looks_at_a_crowd_keep_their_distance() -> None:
    sessions, now, looks = Sessions(OWN), 0.0, []
    sessions.install(CROWD, now, fresh=True)
    while now < 30.0:
        look = sessions.next_look()
        assert look is not None and look > now
        now = look
        sessions.update(dict.fromkeys(CROWD, NEVER), now, 0)
        sessions.probe_again(CROWD[0], now)  # as if somebody joined all the time
        looks.append(now)
    gaps = [after - before for before, after in zip(looks, looks[1:])]
    assert min(gaps) >= 0.999 * LOOK_SHARE * SIZE


def test_a_crowd_is_put_into_the_device_anew_a_few_times_only() -> None:
    openings, tries = Openings(OWN), 0
    for key in CROWD:
        openings.begin(key, 0.0)
    assert openings.next_due() == FIRST, "the first one can't know"
    while (due := openings.next_due()) is not None:
        for key in openings.take_due(due):
            openings.begin(key, due)
            tries += 1
    assert tries < SIZE * (FIRST_TRIES + 1) / 2


def test_looks_at_a_crowd_that_is_silent_grow_apart() -> None:
    sessions, now, looks = Sessions(OWN), 0.0, 0
    sessions.install(CROWD, now, fresh=True)
    while (look := sessions.next_look()) is not None and look < 60.0:
        now, looks = look, looks + 1
        sessions.update(dict.fromkeys(CROWD, NEVER), now, 0)
    assert looks < 20


def test_probes_that_are_planned_anew_do_not_pile_up() -> None:
    sessions = Sessions(OWN)
    sessions.install(CROWD[:2], 0.0, fresh=True)
    for number in range(10 * MANY_PROBES):
        sessions.probe_again(CROWD[0], 1.0 + number)
    assert len(sessions._probes) <= 2 * 2 + MANY_PROBES
    assert sessions.due_probes(1.0) == [CROWD[1]]
    assert set(sessions.due_probes(10.0 * MANY_PROBES)) == set(CROWD[:2])
