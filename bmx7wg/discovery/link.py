"""Peers on the same link: the socket, the interfaces and the timer of `core.linkproto`.

One rhythm: feed what came in, send what is to be sent, hand out what was observed, set the
timer anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from random import Random
from typing import Final

from .. import sockets
from ..core.bucket import Bucket
from ..core.config import LinkConfig
from ..core.keys import SigningKey
from ..core.limits import INTERVAL, LINK_PORT
from ..core.linkproto import LinkProtocol, Send
from ..core.model import Announcement, Origin, SourceState, SourceStatus
from ..core.sequence import Sequence
from ..netlink import Overrun
from ..rtnetlink import Events, Group
from .interfaces import Interface, Interfaces
from .link_socket import LinkSocket
from .source import Observer

_log = logging.getLogger("bmx7wg.discovery")

_READS: Final = 32  # datagrams or events at most, before others have their turn
_RETRY: Final = (1.0, 2.0, 5.0, 10.0, 30.0)  # s between attempts to begin
_LOG_RATE, _LOG_BURST = 0.1, 10  # lines a second that the network can cause


class LinkSource:
    """Finds peers by multicast on the links of this host; a `Source`.

    *sequence* is the number kept from the last run and *save_sequence* keeps it, seldom (every
    ten minutes and at the end). *exclude* names our own device. *interval* is for tests.
    """

    def __init__(
        self,
        *,
        config: LinkConfig,
        signing_key: SigningKey,
        sequence: int,
        save_sequence: Callable[[int], None],
        observe: Observer,
        exclude: Collection[str] = (),
        interval: float = INTERVAL,
    ) -> None:
        self._config = config
        self._exclude = exclude
        self._observe = observe
        self._save_sequence = save_sequence
        self._sequence = Sequence(sequence, self._reserve)
        self._protocol = LinkProtocol(signing_key, Random(), self._sequence, interval)
        self._counters: Counter[str] = Counter()
        self._lines = Bucket(_LOG_RATE, _LOG_BURST, time.monotonic())
        self._socket: LinkSocket | None = None
        self._events: Events | None = None
        self._interfaces = Interfaces((), ())
        self._used: dict[int, Interface] = {}
        self._status: SourceStatus | None = None
        self._attempts = 0
        self._timer: asyncio.TimerHandle | None = None
        self._beginning: asyncio.Task[None] | None = None

    # -- what the service asks of it --------------------------------------------------------

    async def start(self) -> None:
        if sockets.allowed():
            await self._begin()
        else:  # to be given a socket takes a while, and nobody need wait for it
            self._tell(SourceState.WAITING)
            self._begin_again()

    def announce(self, announcement: Announcement) -> None:
        self._protocol.announce(announcement, time.monotonic())
        self._turn()

    def follow_metrics(self, wanted: bool) -> None:
        """A link knows no metric: the ways are one hop, and measured by who chooses."""

    async def resync(self) -> None:
        if self._socket is None:
            self._begin_again()
            return
        await self._begin()
        self._protocol.solicit(time.monotonic())
        self._turn()

    async def stop(self, *, leave: bool = True) -> None:
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.wait([self._beginning])
        if leave:
            self._protocol.goodbye(_wall_us())
            self._flush()
        self._sequence.release()
        self._end()
        self._tell(SourceState.STOPPED)

    def counters(self) -> dict[str, int]:
        return dict(self._protocol.counters + self._counters)

    # -- beginning and ending ---------------------------------------------------------------

    async def _begin(self) -> None:
        """Open what is not open, and read all interfaces; once more, later, if that fails."""
        loop = asyncio.get_running_loop()
        self._stop_watching()
        try:
            if self._socket is None:
                self._socket = LinkSocket(await sockets.open_socket(sockets.LINK))
                loop.add_reader(self._socket, self._datagrams_came)
            # Events from now on wait in the socket until what they change has been read.
            events = self._events = Events(Group.LINK, Group.IPV6_ADDRESS)
            interfaces = await asyncio.to_thread(Interfaces.read)
        except OSError as error:
            what = "list interfaces" if self._socket else f"listen on UDP port {LINK_PORT}"
            self._end()
            self._tell(SourceState.FAILED, f"can't {what}: {error.strerror}")
            self._begin_again(_RETRY[min(self._attempts, len(_RETRY) - 1)])
            self._attempts += 1
            return
        if events is self._events:  # else somebody began after us, and has newer ones
            self._attempts = 0
            self._interfaces = interfaces
            loop.add_reader(events, self._interfaces_changed)
            self._select()

    def _begin_again(self, delay: float = 0.0) -> None:
        async def begin() -> None:
            await asyncio.sleep(delay)
            await self._begin()

        if self._beginning is not None and self._beginning is not asyncio.current_task():
            self._beginning.cancel()
        self._beginning = asyncio.get_running_loop().create_task(begin())

    def _stop_watching(self) -> None:
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events)
            self._events.close()
            self._events = None

    def _end(self) -> None:
        self._stop_watching()
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for index in self._used:
            self._protocol.interface_down(index, time.monotonic())
        self._used = {}

    # -- interfaces -------------------------------------------------------------------------

    def _interfaces_changed(self) -> None:
        assert self._events is not None
        try:
            for _ in range(_READS):
                events = self._events.get()
                for event in events:
                    self._interfaces.apply(event)
                if not events:
                    break
        except Overrun:
            _log.info("events about interfaces were lost, reading all anew")
            self._begin_again()
        except OSError as error:
            self._say("events about interfaces: %s", error.strerror)
            self._begin_again(_RETRY[0])
        self._select()

    def _select(self) -> None:
        """Bring the protocol in line with the interfaces that there are now."""
        now = time.monotonic()
        found = self._interfaces.select(self._config.interfaces, self._exclude)
        for index in self._used.keys() - found.keys():
            self._leave(index)
            self._protocol.interface_down(index, now)
            del self._used[index]
        for index, interface in found.items():
            before = self._used.get(index)
            if interface != before and (before is not None or self._join(interface)):
                self._protocol.interface_up(index, interface.name, now)
                self._used[index] = interface
        self._report()
        self._turn()

    def _join(self, interface: Interface) -> bool:
        assert self._socket is not None
        try:
            self._socket.join(interface.index)
        except OSError as error:
            self._counters["join-errors"] += 1
            self._say("can't listen on %s: %s", interface.name, error.strerror)
            return False
        return True

    def _leave(self, index: int) -> None:
        assert self._socket is not None
        try:
            self._socket.leave(index)
        except OSError:
            pass  # it has vanished, and the membership with it

    # -- the rhythm -------------------------------------------------------------------------

    def _datagrams_came(self) -> None:
        assert self._socket is not None
        for _ in range(_READS):
            try:
                got = self._socket.receive()
            except OSError as error:
                self._counters["receive-errors"] += 1
                self._say("receiving: %s", error.strerror)
                break
            if got is None:
                break
            self._protocol.datagram(
                got.interface, got.source, got.hop_limit, got.data, time.monotonic(), _wall_us()
            )
            self._flush()
        if self._protocol.counters["cloned"]:
            self._report()
        self._turn()

    def _turn(self) -> None:
        """Do what is due, hand out the result, set the timer."""
        if self._socket is None:
            return
        self._protocol.timeout(time.monotonic(), _wall_us())
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
        at = self._protocol.next_timeout()
        # The loop's clock is time.monotonic, as ours.
        loop = asyncio.get_running_loop()
        self._timer = None if at is None else loop.call_at(at, self._turn)

    def _flush(self) -> None:
        sends, observations = self._protocol.drain()
        for send in sends:
            self._send(send)
        for observation in observations:
            self._observe(observation)

    def _send(self, send: Send) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(send.interface, send.destination, send.data)
        except OSError as error:
            self._counters["send-errors"] += 1
            self._say("sending on interface %d: %s", send.interface, error.strerror)

    # -- what is told -----------------------------------------------------------------------

    def _report(self) -> None:
        names = tuple(sorted(interface.name for interface in self._used.values()))
        if not names:
            self._tell(SourceState.WAITING, "no interface to look for neighbours on")
        elif self._protocol.counters["cloned"]:
            self._tell(SourceState.READY, "another node uses the key of this one", names)
        else:
            self._tell(SourceState.READY, interfaces=names)

    def _tell(self, state: SourceState, detail: str = "", interfaces: tuple[str, ...] = ()) -> None:
        status = SourceStatus(Origin.LINK, state, detail, interfaces)
        if status != self._status:
            self._status = status
            self._observe(status)

    def _reserve(self, sequence: int) -> None:
        try:
            self._save_sequence(sequence)
        except Exception as error:  # whatever the store says, neighbours go on being found
            self._counters["save-errors"] += 1
            self._say("the sequence number can't be kept: %s", error)

    def _say(self, message: str, *args: object) -> None:
        if self._lines.take(time.monotonic()):
            _log.warning(message, *args)


def _wall_us() -> int:
    return time.time_ns() // 1000
