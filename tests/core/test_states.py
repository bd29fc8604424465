from __future__ import annotations

import pytest

from bmx7wg.core.model import PeerState
from bmx7wg.core.states import LIVE, TRANSITIONS, WANTED, IllegalTransition, PeerEvent, after

#: The whole table once more, as a person writes it: rows are states, columns events.
DRAWN = """
              accepted    installed   evicted     handshake   aged        withdrawn
discovered    discovered  configured  -           -           -           lost
configured    configured  -           discovered  connected   -           lost
connected     connected   -           discovered  -           idle        lost
idle          idle        -           discovered  connected   -           lost
lost          discovered  -           -           -           -           -
blocked       discovered  -           -           -           -           -
untrusted     discovered  -           -           -           -           -
incompatible  discovered  -           -           -           -           -
conflict      discovered  -           -           -           -           -
"""
#: From every state but the removed one, a refusal leads to its own.
REFUSALS = "blocked>blocked distrusted>untrusted mismatched>incompatible clashed>conflict"


def test_the_table_is_as_drawn() -> None:
    header, *rows = DRAWN.strip("\n").splitlines()
    events = [PeerEvent(word) for word in header.split()]
    refusals = dict(pair.split(">") for pair in REFUSALS.split())
    assert {*events, *refusals} == set(PeerEvent)
    drawn = {
        (state, PeerEvent(event)): PeerState(target)
        for state in PeerState
        for event, target in refusals.items()
    }
    for row in rows:
        state, *targets = row.split()
        for event, target in zip(events, targets, strict=True):
            if target != "-":
                drawn[PeerState(state), event] = PeerState(target)
    assert drawn == TRANSITIONS


def test_what_is_not_in_the_table_raises() -> None:
    with pytest.raises(IllegalTransition, match="handshake can't happen to a peer that is lost"):
        after(PeerState.LOST, PeerEvent.HANDSHAKE)


def test_sets_of_states() -> None:
    assert WANTED - LIVE == {PeerState.LOST}
    assert set(PeerState) - WANTED == {"blocked", "untrusted", "incompatible", "conflict"}
