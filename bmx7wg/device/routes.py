"""Routes into the device, and the rules that lead to their tables.

Ours are known by their protocol alone (backend.PROTOCOL). So those of others are never touched,
whatever table or priority they share with ours, and what an earlier run left is found.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from ..core.model import DesiredDevice, DesiredRoute, DesiredRule, Failure
from ..core.operations import AddRoute, AddRule, RemoveRoute, RemoveRule, RouteOperation
from ..core.plan import as_kept
from ..netlink import NetlinkError, Request
from ..rtnetlink import Route, Rtnetlink, Rule, add_route, add_rule, delete_route, delete_rule
from .backend import PROTOCOL

_ALL_TABLES: Final = 0
_VERSIONS: Final = (4, 6)
_GONE: Final = (errno.ESRCH, errno.ENOENT)

Ours = DesiredRoute | DesiredRule


class Routes:
    """Requests for one device. They block; rtnetlink's errors come through."""

    def __init__(self, route: Rtnetlink) -> None:
        self._route = route
        self._standing: frozenset[Ours] = frozenset()

    def routes(self, index: int) -> tuple[DesiredRoute, ...]:
        """Those of ours that lead to a link."""
        return tuple(
            DesiredRoute(route.destination, route.table, route.metric)
            for route in self._ours(index)
        )

    def rules(self) -> tuple[DesiredRule, ...]:
        rules = (rule for version in _VERSIONS for rule in self._route.rules(version))
        return tuple(found for rule in rules if (found := _as_desired(rule)) is not None)

    def perform(self, index: int, operations: Sequence[RouteOperation]) -> list[Failure]:
        refused = self._route.batch([_request(index, operation) for operation in operations])
        present: set[Ours] = set()
        if any(error.errno == errno.EEXIST for error in refused.values()):
            present = {*self.routes(index), *self.rules()}
        failures = []
        for position, error in refused.items():
            operation = operations[position]
            match operation:
                case AddRoute(subject) | AddRule(subject) if subject in present:
                    continue
                case RemoveRoute() | RemoveRule() if error.errno in _GONE:
                    continue
            if error.errno == errno.ENODEV:
                raise error
            failures.append(Failure(str(operation), _why(error)))
        return failures

    def settle(self, desired: DesiredDevice, failures: Collection[Failure]) -> None:
        """What was reached is to stay: see `deviations`."""
        failed = {failure.what for failure in failures}
        routes = map(as_kept, desired.routes)
        reached: set[Ours] = {r for r in routes if str(AddRoute(r)) not in failed}
        reached.update(rule for rule in desired.rules if str(AddRule(rule)) not in failed)
        self._standing = frozenset(reached)

    def deviations(self, name: str, index: int) -> Iterator[str]:
        """What others took away since, as sentences for people."""
        if not self._standing:
            return
        gone = self._standing.difference(self.routes(index), self.rules())
        routes = sorted(str(route) for route in gone if isinstance(route, DesiredRoute))
        if routes:
            more = f" and {len(routes) - 1} more" if len(routes) > 1 else ""
            yield f"the route {routes[0]}{more} was taken from {name}"
        for rule in sorted(str(rule) for rule in gone if isinstance(rule, DesiredRule)):
            yield f"the rule {rule} was taken away"

    def remove(self, keep: DesiredDevice | None = None) -> None:
        """Remove all that is ours, wherever it leads; but not what is wanted by *keep*."""
        stay: set[Ours] = {*map(as_kept, keep.routes), *keep.rules} if keep else set()
        requests = [delete_rule(_as_rule(rule)) for rule in self.rules() if rule not in stay]
        requests += (
            delete_route(route)
            for route in self._ours()
            if DesiredRoute(route.destination, route.table, route.metric) not in stay
        )
        refused = self._route.batch(requests)
        self._standing = frozenset()
        for error in refused.values():
            if error.errno not in _GONE:
                raise error

    def _ours(self, index: int = 0) -> Iterator[Route]:
        for version in _VERSIONS:
            yield from self._route.routes(
                index, version=version, table=_ALL_TABLES, protocol=PROTOCOL
            )


def _request(index: int, operation: RouteOperation) -> Request:
    match operation:
        case AddRoute(route):
            return add_route(_as_route(index, route))
        case RemoveRoute(route):
            return delete_route(_as_route(index, route))
        case AddRule(rule):
            return add_rule(_as_rule(rule))
        case RemoveRule(rule):
            return delete_rule(_as_rule(rule))


def _as_route(index: int, route: DesiredRoute) -> Route:
    return Route(route.prefix, index, route.table, PROTOCOL, route.metric)


def _as_rule(rule: DesiredRule) -> Rule:
    return Rule(
        version=rule.version,
        priority=rule.priority,
        table=rule.table,
        mark=rule.mark,
        inverted=rule.mark != 0,
        suppress=0 if rule.specific else -1,
        protocol=PROTOCOL,
    )


def _as_desired(rule: Rule) -> DesiredRule | None:
    """None for one that is not ours."""
    specific = rule.suppress == 0
    found = DesiredRule(rule.version, rule.priority, rule.table, rule.mark, specific)
    return found if _as_rule(found) == rule else None


def _why(error: NetlinkError) -> str:
    if error.errno == errno.EEXIST:
        return "there is one of somebody else's"
    return error.strerror or str(error)
