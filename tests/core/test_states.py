from __future__ import annotations

import pytest

from bmx7wg.core.model import PeerState
from bmx7wg.core.states import LIVE, TRANSITIONS, WANTED, IllegalTransition, PeerEvent, after

#: The whole table once more, as a person writes it: rows are states, columns events.
DRAWN = """
              accepted   blocked distrusted mismatched   clashed  installed  evicted    handshake aged withdrawn
discovered    discovered blocked untrusted  incompatible conflict configured -          -         -    lost
configured    configured blocked untrusted  incompatible conflict -          discovered connected -    lost
connected     connected  blocked untrusted  incompatible conflict -          discovered -         idle lost
idle          idle       blocked untrusted  incompatible conflict -          discovered connected -    lost
lost          discovered blocked untrusted  incompatible conflict -          -          -         -    -
blocked       discovered blocked untrusted  incompatible conflict -          -          -         -    -
untrusted     discovered blocked untrusted  incompatible conflict -          -          -         -    -
incompatible  discovered blocked untrusted  incompatible conflict -          -          -         -    -
conflict      discovered blocked untrusted  incompatible conflict -          -          -         -    -
"""


def test_the_table_is_as_drawn() -> None:
    header, *rows = DRAWN.strip("\n").splitlines()
    events = [PeerEvent(word) for word in header.split()]
    assert set(events) == set(PeerEvent)
    drawn = {}
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
