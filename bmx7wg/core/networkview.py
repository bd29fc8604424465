"""A network as people see it."""

from __future__ import annotations

from collections.abc import Container

from . import explain
from .identity import NodeId
from .model import Network
from .selection import Situation
from .views import NetworkView


def view(
    prefix: Network,
    situation: Situation,
    *,
    since: int,
    reason: str,
    hidden: Container[NodeId],
) -> NetworkView:
    """*since* is in µs since 1970; *hidden* are gateways that are no nodes."""
    return NetworkView(
        prefix=prefix,
        gateway=None if situation.gateway in hidden else situation.gateway,
        candidates=tuple(
            candidate for candidate in explain.candidates(situation) if candidate[0] not in hidden
        ),
        table=situation.route.table,
        metric=situation.route.metric,
        since=since,
        reason=reason,
    )
