"""What the rest of the system has of addresses and routes, told whenever it changes.

An event only says that something did. After the first one nobody listens until all is read anew,
at most once a second: a routing daemon with thousands of routes that come and go costs one reading
for all of them, and less often than that if it takes long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ..core.limits import MAX_TABLE_ROUTES
from ..core.model import Network, Surroundings
from ..rtnetlink import Events, Group, Rtnetlink

log = logging.getLogger("bmx7wg.device")

_ALWAYS: Final = (
    Group.LINK,
    *(Group.IPV4_ADDRESS, Group.IPV4_NETCONF),
    *(Group.IPV6_ADDRESS, Group.IPV6_NETCONF),
)
_ROUTES: Final = (Group.IPV4_ROUTE, Group.IPV6_ROUTE)
_VERSIONS: Final = (4, 6)
_SETTLE: Final = 0.05  # s; changes come in groups
_INTERVAL: Final = 1.0  # s between readings
_SHARE: Final = 0.01  # of a core, the most that readings may take


class SurroundingsWatch:
    """Gives `Surroundings` to *observe*: at the start, and whenever they are different.

    Addresses and routes of the link *device* don't count. Of routes, the tables are read that
    were asked for with `look_for`.
    """

    def __init__(self, observe: Callable[[Surroundings], None], *, device: str) -> None:
        self._observe = observe
        self._device = device
        self._tables: frozenset[int] = frozenset()
        self._told: Surroundings | None = None
        self._cut: set[int] = set()  # tables with too many routes, which was said
        self._changed = asyncio.Event()
        self._route: Rtnetlink | None = None
        self._events: Events | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Tell of what is there, and of changes from then on. OSError without rtnetlink."""
        route = self._route = Rtnetlink()
        await self._look(route)
        self._task = asyncio.create_task(self._keep_looking(route))

    def look_for(self, tables: frozenset[int]) -> None:
        """Tell of the routes in these tables from now on."""
        if tables != self._tables:
            self._tables = tables
            self._deafen()
            self._changed.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._deafen()
        if self._route is not None:
            self._route.close()
            self._route = None

    async def _keep_looking(self, route: Rtnetlink) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            begun = loop.time()
            await self._look(route)
            await asyncio.sleep(max(_INTERVAL, (loop.time() - begun) / _SHARE))

    async def _look(self, route: Rtnetlink) -> None:
        self._changed.clear()
        self._listen()
        try:
            found = await asyncio.to_thread(self._read, route, self._tables)
        except OSError as error:
            log.warning("addresses and routes can't be read: %s", error.strerror or error)
            self._changed.set()
            return
        if found != self._told:
            self._told = found
            self._observe(found)

    def _listen(self) -> None:
        self._deafen()
        self._events = Events(*_ALWAYS, *(_ROUTES if self._tables else ()))
        asyncio.get_running_loop().add_reader(self._events, self._on_event)

    def _deafen(self) -> None:
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events)
            self._events.close()
            self._events = None

    def _on_event(self) -> None:
        """Something changed, or more than there is room for: it is the same."""
        self._deafen()
        asyncio.get_running_loop().call_later(_SETTLE, self._changed.set)

    def _read(self, route: Rtnetlink, tables: frozenset[int]) -> Surroundings:
        """In a thread: it waits for the kernel's locks."""
        own = link.index if (link := route.link(self._device)) is not None else 0
        interfaces = [a.interface for a in route.addresses() if a.index != own]
        return Surroundings(
            addresses=frozenset(interface.ip for interface in interfaces),
            connected=frozenset(interface.network for interface in interfaces),
            routes={table: self._routes(route, table, own) for table in tables},
            forwarding=route.forwarding(),
        )

    def _routes(self, route: Rtnetlink, table: int, own: int) -> frozenset[Network]:
        found: set[Network] = set()
        for version in _VERSIONS:
            routes = route.routes(version=version, table=table, most=MAX_TABLE_ROUTES)
            if len(routes) == MAX_TABLE_ROUTES and table not in self._cut:
                self._cut.add(table)
                log.warning("table %d: only %d routes are looked at", table, MAX_TABLE_ROUTES)
            found.update(r.destination for r in routes if r.index != own)
        return frozenset(found)
