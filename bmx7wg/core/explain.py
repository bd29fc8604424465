"""Why a network is where it is, in words for people.

Nothing in them comes from a neighbour: names are theirs to choose.
"""

from __future__ import annotations

from .identity import NodeId
from .policy import Gateway, Standing
from .selection import Candidate, Situation


def candidates(situation: Situation) -> tuple[tuple[NodeId, int, str], ...]:
    """Best first: node, tunnel metric in bit/s, and why it does not carry the prefix."""
    return tuple(
        (candidate.gateway.node_id, candidate.metric, _why_not(situation, candidate))
        for candidate in situation.candidates
    )


def unchosen(situation: Situation | None) -> str:
    """Why nobody carries a prefix."""
    if situation is None:
        return "nobody offers it any more"
    if situation.refusal:
        return f"not taken: {situation.refusal}"
    if situation.left_to is not None and situation.candidates[0].gateway.node_id in situation.left:
        return f"left to {situation.left_to}, which had a better gateway less than a minute ago"
    if situation.left_to is not None:
        return f"left to {situation.left_to}, which has a better gateway and allows no overlap"
    return "another table needs it elsewhere"


def chosen(situation: Situation) -> str:
    """Why a prefix that nobody carried is where it is now."""
    number = len(situation.candidates)
    return "nobody else offers it" if number == 1 else "the best of those who offer it"


def switched(situation: Situation, before: Gateway | None) -> str:
    """Why a prefix went from one gateway to another."""
    if before is None:
        return "the one before does not offer it any more"
    if before.standing >= Standing.DOUBTFUL:
        return f"the one before {before.flaw}"
    gateways = (candidate.gateway for candidate in situation.candidates)
    after = next((g for g in gateways if g.node_id == situation.gateway), before)
    if after.standing < before.standing:
        return "there was a handshake with this one, and none with the one before"
    return "better by more than the hysteresis"


def _why_not(situation: Situation, candidate: Candidate) -> str:
    gateway, rank, metric = candidate
    if gateway.node_id == situation.gateway:
        return ""
    if situation.gateway is None:
        return unchosen(situation)
    if gateway.standing >= Standing.DOUBTFUL:
        return f"it {gateway.flaw}"
    taken = next((c for c in situation.candidates if c.gateway.node_id == situation.gateway), None)
    if taken is not None and rank < taken.rank and gateway.node_id in situation.left:
        return "it was left less than a minute ago"
    if taken is None or rank < taken.rank:
        return "another table needs it elsewhere"
    if gateway.standing > taken.gateway.standing:
        return "no handshake with it yet" if gateway.standing is Standing.NEW else ""
    if metric > taken.metric:
        return "better by less than the hysteresis"
    return "its metric is lower" if metric < taken.metric else "as good as the one in use"
