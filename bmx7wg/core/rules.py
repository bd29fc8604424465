"""The routing rules that lead to the tables of searched networks."""

from __future__ import annotations

from collections.abc import Collection

from .limits import MAIN_TABLE
from .model import DesiredRule, Search


def rules(searches: Collection[Search], mark: int) -> tuple[DesiredRule, ...]:
    """What leads to the tables; before, all but default routes of the main table count.

    This is wg-quick(8)'s way: a default route in a table of its own, which WireGuard's packets
    (those with the firewall *mark*) do not look into, and which no network that is on a link falls
    into.
    """
    found: list[DesiredRule] = []
    for version in (4, 6):
        wanted = {(s.rule, s.table) for s in searches if s.network.version == version}
        if wanted:
            first, _ = min(wanted)
            found.append(DesiredRule(version, first - 1, MAIN_TABLE, specific=True))
        found += [DesiredRule(version, rule, table, mark) for rule, table in sorted(wanted)]
    return tuple(found)
