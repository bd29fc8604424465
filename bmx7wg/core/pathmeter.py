"""How good the way to a peer is, and whether it answers at all, told from probes.

A probe is an echo to the mesh address: what is measured is what users' packets meet. Only ways
that somebody chooses by are measured; who carries traffic is asked more often than who could.
The one who calls sends what is `due` and tells of each probe how it ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .identity import NodeId

IN_USE: Final = 2.0  # s between probes of a gateway that carries traffic
STANDING_BY: Final = 10.0  # s between those of one that could
PROBES_PER_SECOND: Final = 10  # at most, to all who stand by: radio is shared
PATIENCE: Final = 2.0  # s until a probe counts as lost
PATIENCE_IF_SUSPECT: Final = 1.0  # s, for a peer that its source gave up
LOST_IN_A_ROW: Final = 5  # probes; then the peer has failed: 10 to 12 s
LOST_IF_SUSPECT: Final = 3

# The metric is what TCP carries with this window (RFC 7323 1.1: window / round trip), less what
# is lost: the share of probes that come back, squared, as ETX weighs both directions.
_WINDOW: Final = 8 * 2**20  # bit
_SHORTEST: Final = 0.01  # s; below, round trips say nothing of the way
_SMOOTHING: Final = 1 / 8  # weight of a new round trip (RFC 6298 2)
# Weight of a probe that came back or did not: one that is lost, as happens on a radio, costs 6 %
# of the metric, and so less than the hysteresis of 20 %.
_LOSS_SMOOTHING: Final = 1 / 32
_NEWS: Final = 0.1  # a metric that moved by less than this share is not told


@dataclass
class _Path:
    in_use: bool
    due: float
    asked: float | None = None  # when; a probe is under way
    suspect: bool = False
    failed: bool = False
    lost: int = 0  # in a row
    arrived: float = 1.0  # smoothed share of probes
    round_trip: float | None = None  # s, smoothed
    answered: bool = False  # at least once
    metric: int = 0  # as told last


class PathMeter:
    """The ways to those peers that are worth measuring."""

    def __init__(self) -> None:
        self._paths: dict[NodeId, _Path] = {}

    def follow(self, nodes: Mapping[NodeId, bool], now: float) -> None:
        """Measure the ways to these from now on, and to nobody else; true: it is in use."""
        for node_id in self._paths.keys() - nodes.keys():
            del self._paths[node_id]
        due = now
        for node_id, in_use in nodes.items():
            path = self._paths.get(node_id)
            if path is None:
                self._paths[node_id] = _Path(in_use, due)
                due += 1 / PROBES_PER_SECOND
            elif path.in_use != in_use:
                path.in_use = in_use
                path.due = min(path.due, now + self._interval(path))

    def suspect(self, node_id: NodeId, now: float) -> None:
        """Its source gave this peer up: see at once whether it still answers."""
        path = self._paths.get(node_id)
        if path is not None and not path.suspect:
            path.suspect, path.lost, path.due = True, 0, now

    def trust(self, node_id: NodeId) -> None:
        """Its source has this peer again."""
        path = self._paths.get(node_id)
        if path is not None:
            path.suspect = False

    def due(self, now: float) -> list[tuple[NodeId, float]]:
        """Whom to probe now, and how many seconds to wait for the answer."""
        found = []
        for node_id, path in self._paths.items():
            if path.asked is None and now >= path.due:
                path.asked = now
                found.append((node_id, _patience(path)))
        return found

    def probed(self, node_id: NodeId, round_trip: float | None, now: float) -> None:
        """A probe came back after so many seconds; None: it did not."""
        path = self._paths.get(node_id)
        if path is None or path.asked is None:
            return
        asked, path.asked = path.asked, None
        arrived = round_trip is not None
        path.arrived += _LOSS_SMOOTHING * (arrived - path.arrived)
        if round_trip is None:
            path.lost += 1
            most = LOST_IF_SUSPECT if path.suspect else LOST_IN_A_ROW
            path.failed = path.failed or path.lost >= most
            # One that could not even be sent is no reason to hurry.
            path.due = now + self._interval(path) if path.failed else asked + _patience(path)
            return
        path.lost, path.failed = 0, False
        if not path.answered:
            # There may have been a handshake in it: it proves life, and says nothing of the way.
            path.answered, path.due = True, now
            return
        if path.round_trip is None:
            path.round_trip = round_trip
        path.round_trip += _SMOOTHING * (round_trip - path.round_trip)
        path.due = now + self._interval(path)

    def failed(self, node_id: NodeId) -> bool:
        """Whether this peer is followed and does not answer."""
        path = self._paths.get(node_id)
        return path is not None and path.failed

    def answers(self, node_id: NodeId) -> bool:
        """Whether this peer is followed and its last probes were answered."""
        path = self._paths.get(node_id)
        return path is not None and path.answered and not path.failed

    def news(self) -> dict[NodeId, int]:
        """The metrics, in bit/s, that are worth telling since the last call.

        None while one in use is not measured: it would be left for the first who is.
        """
        if any(path.in_use and _is_open(path) for path in self._paths.values()):
            return {}
        found = {}
        for node_id, path in self._paths.items():
            metric = _metric(path)
            if abs(metric - path.metric) > _NEWS * path.metric:
                found[node_id] = path.metric = metric
        return found

    def next_due(self) -> float | None:
        """When `due` has somebody next."""
        return min((path.due for path in self._paths.values() if path.asked is None), default=None)

    def _interval(self, path: _Path) -> float:
        if path.in_use:
            return IN_USE
        return max(STANDING_BY, len(self._paths) / PROBES_PER_SECOND)


def _is_open(path: _Path) -> bool:
    """Whether nobody knows yet what this way is worth."""
    return path.round_trip is None and not path.failed


def _metric(path: _Path) -> int:
    if path.round_trip is None:
        return 0
    return round(path.arrived**2 * _WINDOW / max(path.round_trip, _SHORTEST))


def _patience(path: _Path) -> float:
    return PATIENCE_IF_SUSPECT if path.suspect else PATIENCE
