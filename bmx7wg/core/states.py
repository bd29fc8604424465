"""The states of a peer and every way between them (design.md 4).

Nothing else changes a peer's state. A transition that is not in the table is our own mistake.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from .model import PeerState as S


class PeerEvent(StrEnum):
    ACCEPTED = "accepted"  # announced, and policy has nothing against it
    BLOCKED = "blocked"  # by the administrator
    DISTRUSTED = "distrusted"  # not on the administrator's list
    MISMATCHED = "mismatched"  # speaks another version
    CLASHED = "clashed"  # announces a public key that another node holds
    INSTALLED = "installed"  # the device has it
    EVICTED = "evicted"  # the device has it no more, or has another key of it
    HANDSHAKE = "handshake"  # one was completed at most 180 s ago
    AGED = "aged"  # the last one is older than that
    WITHDRAWN = "withdrawn"  # nobody announces it any more


class IllegalTransition(Exception):
    """The code, not a neighbour, is wrong."""


_LIVE: Final = (S.DISCOVERED, S.CONFIGURED, S.CONNECTED, S.IDLE)
_REFUSED: Final = (S.BLOCKED, S.UNTRUSTED, S.INCOMPATIBLE, S.CONFLICT)
_REFUSALS: Final = {
    PeerEvent.BLOCKED: S.BLOCKED,
    PeerEvent.DISTRUSTED: S.UNTRUSTED,
    PeerEvent.MISMATCHED: S.INCOMPATIBLE,
    PeerEvent.CLASHED: S.CONFLICT,
}

TRANSITIONS: Final[dict[tuple[S, PeerEvent], S]] = {
    (S.DISCOVERED, PeerEvent.INSTALLED): S.CONFIGURED,
    (S.CONFIGURED, PeerEvent.HANDSHAKE): S.CONNECTED,
    (S.IDLE, PeerEvent.HANDSHAKE): S.CONNECTED,
    (S.CONNECTED, PeerEvent.AGED): S.IDLE,
    **{(s, PeerEvent.EVICTED): S.DISCOVERED for s in (S.CONFIGURED, S.CONNECTED, S.IDLE)},
    **{(s, PeerEvent.WITHDRAWN): S.LOST for s in _LIVE},
    **{(s, PeerEvent.ACCEPTED): s for s in _LIVE},
    **{(s, PeerEvent.ACCEPTED): S.DISCOVERED for s in (S.LOST, *_REFUSED)},
    **{
        (s, refusal): refused
        for refusal, refused in _REFUSALS.items()
        for s in (*_LIVE, S.LOST, *_REFUSED)
    },
}

#: The states in which a peer belongs into the device. A lost one still works while it is kept.
WANTED: Final = frozenset((*_LIVE, S.LOST))
#: The states in which the device decides how an announced peer does.
LIVE: Final = frozenset(_LIVE)


def after(state: S, event: PeerEvent) -> S:
    """The state that follows; IllegalTransition if the table has none."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"{event} can't happen to a peer that is {state}") from None
