"""One node at work: feed the core, carry out what it wants, show what changed, sleep.

The rhythm is in `run`: whatever happens (an observation, a timer, a signal, something done to the
device) only notes itself and wakes the loop; one turn of the loop does the work, in one order.
Parts are known by their interfaces alone; main.py puts the real ones in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from .. import __version__
from ..core.config import ConfigError
from ..core.forwarding import not_forwarded
from ..core.identity import NodeId
from ..core.keys import public_key
from ..core.limits import MAX_NETWORKS
from ..core.mesh import Mesh
from ..core.model import (
    Announcement,
    Identified,
    Observation,
    Origin,
    SourceState,
    SourceStatus,
    Surroundings,
)
from ..core.settings import Settings
from ..core.views import Changes, ManagerView, ServiceState
from ..device.base import Device, SurroundingsSource
from ..discovery.source import Source
from . import journal
from .clock import Clock
from .keeper import DeviceKeeper
from .notify import Notifier
from .presence import Presence, PublicBus
from .report import Report
from .store import StoreError

log = logging.getLogger("bmx7wg.service")

COUNTERS_FRESH = 1.0  # s; counters that are younger are not read again for a reader
EX_TEMPFAIL = 75  # sysexits.h; systemd starts the service again


@dataclass(frozen=True)
class Parts:
    """What main.py puts together."""

    source: Source
    origin: Origin
    surroundings: SurroundingsSource
    open_device: Callable[[], Awaitable[Device]]
    bus: PublicBus
    notifier: Notifier
    restarts: Callable[[], Awaitable[bool]]  # whether whoever ended us starts us again at once
    reload: Callable[[], Settings]  # reads the configuration anew; ConfigError, StoreError
    clock: Clock


class Node:
    """The running service."""

    def __init__(self, settings: Settings, *, name: str) -> None:
        self._settings = self._started_with = settings
        self._public_key = public_key(settings.private_key)
        self._next_key = b""
        self._host_name = name
        self._source_name = ""
        self._parts: Parts
        self._mesh: Mesh | None = None
        self._keeper: DeviceKeeper
        self._surroundings: Surroundings | None = None
        self._said: Announcement | None = None
        self._report = Report()
        self._presence: Presence
        self._wake = asyncio.Event()
        self._awaited: list[asyncio.Future[None]] = []
        self._reload = self._stop = self._ready = False
        self._status = 0

    @property
    def node_id(self) -> NodeId | None:
        return self._mesh.node_id if self._mesh is not None else None

    @property
    def public_key(self) -> bytes:
        """WireGuard's, 32 bytes."""
        return self._public_key

    @property
    def refused(self) -> Mapping[str, int]:
        """What the peer table did not take in, by reason."""
        return self._mesh.refused if self._mesh is not None else {}

    @property
    def has_device(self) -> bool:
        return self._keeper.applied is not None

    # -- what happens, from outside -------------------------------------------------------------

    def connect(self, parts: Parts) -> None:
        """Take the parts, which were made to call this node."""
        self._parts = parts
        self._keeper = DeviceKeeper(
            parts.open_device,
            lambda sentence: self._report.problem("device", sentence),
            self._wake.set,
        )
        self._presence = Presence(
            parts.bus, lambda sentence: self._report.problem("bus", sentence), self._wake.set
        )

    def identify(self, node_id: NodeId) -> None:
        """This is who the node is, from now on."""
        if self._mesh is None:
            self._mesh = Mesh(node_id, self._settings)
            self._report.node_id = str(node_id)
            for observed in (self._report.source, self._surroundings):
                if observed is not None:
                    self._mesh.observe(observed, time.monotonic())
        elif node_id != self._mesh.node_id:
            # Every address and preshared key of the mesh follows from it: begin anew.
            log.warning("this node's id became %s; a restart is needed", node_id)
            self._status = EX_TEMPFAIL
            self.stop()
        self._wake.set()

    def observe(self, observation: Observation) -> None:
        """What a source saw (discovery/source.py), or is around us (device/base.py)."""
        if isinstance(observation, Identified):
            self._source_name = observation.name
            self.identify(observation.node_id)
            return
        if isinstance(observation, SourceStatus):
            self._source_status(observation)
        if isinstance(observation, Surroundings):
            self._surroundings = observation
        if self._mesh is not None:
            self._mesh.observe(observation, time.monotonic())
        self._wake.set()

    def look_again(self) -> None:
        """See whether the device is as it should be."""
        self._keeper.look_again()

    def bus_state(self, connected: bool, sentence: str) -> None:
        """The system bus came or went."""
        self._report.problem("bus", "" if connected else sentence)
        self._wake.set()

    def reload(self) -> None:
        """Read the configuration anew, in the next turn."""
        self._reload = True
        self._wake.set()

    def reload_now(self) -> None:
        """Read the configuration anew. With ConfigError or StoreError all stays as it was."""
        self._parts.notifier.reloading()
        try:
            settings = self._parts.reload()
        except (ConfigError, StoreError) as error:
            for line in str(error).splitlines():
                extra = journal.fields(journal.CONFIGURATION_REFUSED)
                log.error("not reloaded: %s", line, extra=extra)
            first, *more = str(error).splitlines()
            others = f" (and {len(more)} more)" if more else ""
            self._report.problem("configuration", f"not reloaded: {first}{others}")
            raise
        else:
            self.apply(settings)
            late = settings.needs_restart(self._started_with)
            what = f"{', '.join(late)}: changed; takes effect after a restart" if late else ""
            self._report.problem("configuration", what)
            log.info("configuration reloaded")
        finally:
            self._parts.notifier.ready()
            self._wake.set()

    def apply(self, settings: Settings) -> None:
        """Use other settings from now on."""
        switched = settings.private_key != self._settings.private_key
        self._settings, self._next_key = settings, b""
        self._public_key = public_key(settings.private_key)
        if self._mesh is not None:
            self._mesh.reconfigure(settings, time.monotonic())
        if not switched:
            self._announce()  # a new key is announced once the device has it
        self._wake.set()

    def announce_next(self, key: bytes) -> None:
        """Tell the others which public key will be used soon."""
        self._next_key = key
        self._announce()

    def stop(self) -> None:
        self._stop = True
        self._wake.set()

    async def turn(self) -> None:
        """Wait until all that is known now was acted upon and published."""
        done = asyncio.get_running_loop().create_future()
        self._awaited.append(done)
        self._wake.set()
        await done

    async def probe(self, node_id: NodeId) -> float:
        """The round trip to a peer in seconds, with a handshake in it if there was no session.

        KeyError for a peer that is not in the device, TimeoutError if it doesn't answer.
        """
        address = self._mesh.address(node_id) if self._mesh is not None else None
        if address is None:
            raise KeyError(node_id)
        return await self._keeper.measure(address)

    async def refresh(self) -> None:
        """Bring the counters up to date for somebody who looks (bus/service.py)."""
        mesh = self._mesh
        if mesh is None:
            return
        if time.monotonic() - mesh.looked >= COUNTERS_FRESH:
            await self._keeper.look(mesh)
        if mesh.show_counters() or mesh.has_changes:
            await self._publish_all()

    # -- the rhythm -----------------------------------------------------------------------------

    async def run(self) -> int:
        """Work until `stop`. Returns the exit status.

        Nothing is left behind, unless the service is to be restarted, or ends by a mistake of
        ours: then the device stays, and nobody is told.
        """
        self._presence.begin()
        try:
            self._look_around()
            await self._parts.surroundings.start()
            await self._parts.source.start()
            while not self._stop:
                self._wake.clear()
                awaited, self._awaited = self._awaited, []
                await self._turn(urgent=bool(awaited))
                for done in awaited:
                    if not done.done():
                        done.set_result(None)
                await self._sleep()
        finally:
            # Another node id has another address: that is a new beginning.
            leave = self._stop and (self._status != 0 or not await self._parts.restarts())
            await self._shut_down(leave)
        return self._status

    async def _turn(self, *, urgent: bool) -> None:
        if self._reload:
            self._reload = False
            self._reload_quietly()
        if slept := self._parts.clock.slept():
            await self._resume(slept)
        if self._keeper.disturbed:
            self._publish()  # what is wrong is shown before it is put right
        if self._mesh is not None:
            await self._keeper.tend(self._mesh, urgent=urgent)
            self._look_around()
            self._announce()
        await self._publish_all()
        self._parts.notifier.alive()

    def _look_around(self) -> None:
        if self._mesh is None:
            return
        self._parts.surroundings.look_for(self._mesh.tables())
        self._parts.source.follow_metrics(self._mesh.chooses)
        config, sentence = self._settings.config.device, ""
        if self._surroundings is not None and not config.forward:
            offers, forwarded = self._mesh.offers(), self._surroundings.forwarding
            sentence = not_forwarded(offers, config.addresses, forwarded)
        self._report.problem("forwarding", sentence)
        count = self._mesh.offers_left_out()
        what = f"{count} networks are not offered: an announcement holds {MAX_NETWORKS} at most"
        self._report.problem("offers", what if count else "")

    async def _resume(self, slept: float) -> None:
        """The machine was asleep: find out anew what is there, and be found."""
        log.info("the machine slept for %.0f s", slept, extra=journal.fields(journal.RESUMED))
        if self._mesh is not None:
            self._mesh.resumed(slept, time.monotonic())
        self._keeper.look_again()
        await self._parts.source.resync()

    async def _sleep(self) -> None:
        mesh, times = self._mesh, [self._keeper.next_timeout()]
        if mesh is not None:
            times += [mesh.next_timeout(), mesh.next_look()]
        waits = [when - time.monotonic() for when in times if when is not None]
        waits += [self._parts.notifier.watchdog] if self._parts.notifier.watchdog else []
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(waits)) if waits else None):
                await self._wake.wait()

    async def _shut_down(self, leave: bool) -> None:
        self._parts.clock.close()
        self._parts.notifier.stopping()
        self._report.state = ServiceState.STOPPING
        self._publish()
        await self._parts.source.stop(leave=leave)
        await self._parts.surroundings.stop()
        await self._presence.end()
        await self._keeper.end(remove=leave)
        await self._parts.bus.close()

    # -- what the others hear -------------------------------------------------------------------

    def _announce(self) -> None:
        applied = self._keeper.applied
        if applied is None:
            return  # nobody is invited to a device that isn't there
        said = Announcement(
            self._public_key,
            applied.listen_port,
            self._name,
            networks=self._mesh.offers() if self._mesh is not None else (),
            next_key=self._next_key,
        )
        if said != self._said:
            self._said = said
            self._parts.source.announce(said)

    @property
    def _name(self) -> str:
        return self._settings.config.node.name or self._source_name or self._host_name

    # -- configuration --------------------------------------------------------------------------

    def _reload_quietly(self) -> None:
        try:
            self.reload_now()
        except (ConfigError, StoreError):
            pass  # it is in the journal and among the problems; there is nobody to answer

    # -- what people see ------------------------------------------------------------------------

    def _source_status(self, status: SourceStatus) -> None:
        self._report.source = status
        self._report.problem("source", status.detail)

    async def _publish_all(self) -> None:
        """Publish what there is, others in between if it is much."""
        self._publish()
        while self._mesh is not None and self._mesh.has_changes:
            await asyncio.sleep(0)
            self._publish()

    def _publish(self) -> None:
        tried = self._mesh is None or self._keeper.tried
        if not self._ready and tried and self._presence.tried and self._report.source is not None:
            self._ready = True
            self._parts.notifier.ready()
            self._parts.clock.watch(self._wake.set)
        self._report.settle(ready=self._ready)
        changes = self._mesh.changes() if self._mesh is not None else Changes()
        self._report.peers_changed(changes)
        self._report.networks_changed(changes)
        announced = self._said.networks if self._said is not None else ()
        self._report.networks_told(self._settings.config, announced)
        news = self._report.complete(changes, self._manager_view(), self._keeper.view)
        if news is not None:
            self._parts.bus.publish(news)
        counts = self._mesh.counts() if self._mesh is not None else {}
        self._parts.notifier.status(self._report.status_line(counts))

    def _manager_view(self) -> ManagerView:
        source = self._report.source
        return ManagerView(
            version=__version__,
            node_id=str(self._mesh.node_id) if self._mesh is not None else "",
            node_name=self._name,
            state=self._report.state,
            problems=self._report.problems,
            source=self._parts.origin.value,
            source_state=(source.state if source else SourceState.WAITING).value,
            offers=self._report.offers,
            searches=self._report.searches,
        )
