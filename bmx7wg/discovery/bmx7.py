"""Finds peers through an unmodified bmx7 daemon: files that it floods, signed by their nodes.

One task brings the picture up to date whenever something happened (inotify, the death of the
daemon, a timer) and repairs whatever was not there, with backoff. Only files of other nodes
are read at once, in the notification itself.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Final

from ..core.announcement import encode
from ..core.backoff import Backoff
from ..core.config import Bmx7Config
from ..core.model import Announcement, Identified, Origin, SourceState, SourceStatus
from .bmx7_control import ControlError, Unanswered
from .bmx7_daemon import Daemon, DaemonWatch
from .bmx7_files import Paths
from .bmx7_overview import look
from .bmx7_peers import PeerBook
from .bmx7_publish import Publisher, PublishError
from .bmx7_received import Received
from .bmx7_show import NodeIdentity
from .bmx7_timing import Timings
from .bmx7_watch import DirectoryWatch
from .inotify import Event
from .source import Observer

_log = logging.getLogger("bmx7wg.discovery")

_STOP_LIMIT: Final = 1.0  # s for bmx7 to take our withdrawal; stop() has 2 s in all
_NEVER: Final = float("inf")
_DAY: Final = 86400.0  # s; what a timer of the loop can take


class Bmx7Source:
    """A `Source` beside a bmx7 daemon.

    Nothing of other nodes is told before it is known which one we are (`Identified`).
    """

    def __init__(
        self, *, config: Bmx7Config, observe: Observer, timings: Timings = Timings()
    ) -> None:
        self._observe = observe
        self._timings = timings
        self._paths = Paths(config.runtime_dir)
        self._book = PeerBook(grace=timings.grace, relearn=timings.relearn)
        self._received = Received(self._paths.received, self._book, self._unplaced)
        self._publisher = Publisher(self._paths)
        self._daemons = DaemonWatch(self._paths, self._doubt)
        self._watch: DirectoryWatch | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        # The picture
        self._running: Daemon | None = None
        self._since = 0.0  # when it was first seen
        self._own: NodeIdentity | None = None
        self._interfaces: tuple[str, ...] = ()
        self._status = SourceStatus(Origin.BMX7, SourceState.STOPPED)
        self._watch_trouble = ""
        self._scan_trouble = ""
        self._look_trouble: ControlError | None = None
        self._publish_trouble: PublishError | None = None
        self._refresh = timings.refresh
        # What is to be done when (monotonic s), and how patiently it is repeated
        self._examine_at = self._scan_at = self._look_at = self._publish_at = 0.0
        self._looked_at = -_NEVER
        self._examine_backoff = Backoff(timings.retry, timings.retry_longest)
        self._scan_backoff = Backoff(timings.retry, timings.retry_longest)
        self._look_backoff = Backoff(timings.retry, timings.retry_longest)
        self._publish_backoff = Backoff(timings.retry, timings.retry_longest)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="bmx7 discovery")

    def announce(self, announcement: Announcement) -> None:
        self._publisher.say(encode(announcement))
        self._publish_at = 0.0
        self._wake.set()

    def follow_metrics(self, wanted: bool) -> None:
        refresh = self._timings.follow if wanted else self._timings.refresh
        if refresh != self._refresh:
            self._refresh = refresh
            self._look_at = min(self._look_at, monotonic() + refresh)
            self._wake.set()

    async def resync(self) -> None:
        self._publisher.forgotten()
        self._examine_at = self._scan_at = self._look_at = self._publish_at = 0.0
        self._wake.set()

    async def stop(self, *, leave: bool = True) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if leave:
            await self._publisher.withdraw(limit=_STOP_LIMIT)
        self._daemons.forget()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._tell(SourceStatus(Origin.BMX7, SourceState.STOPPED))

    def counters(self) -> dict[str, int]:
        return dict(self._received.refusals.counters)

    # -- one turn ---------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            try:
                await self._turn()
            except Exception:  # a mistake of ours must not end discovery for good
                _log.exception("discovery through bmx7 failed and begins anew")
                self._examine_at = self._scan_at = 0.0
                await asyncio.sleep(self._timings.retry_longest)
                continue
            timer = loop.call_at(min(self._next(), monotonic() + _DAY), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    async def _turn(self) -> None:
        if min(self._examine_at, self._book.deadline()) <= monotonic():
            # Before anybody is withdrawn, see that it is not bmx7 that went.
            self._examine()
            self._book.expire(monotonic())
        if self._look_at <= monotonic():
            await self._look()
        if self._can_scan() and self._scan_at <= monotonic():
            await self._scan()
        if self._can_publish() and self._publish_at <= monotonic():
            await self._publish()
        self._received.reread(monotonic())
        self._flush()
        state, detail = self._judge()
        self._tell(SourceStatus(Origin.BMX7, state, detail, self._interfaces))

    def _next(self) -> float:
        settled = self._since + self._timings.settle
        return min(
            self._examine_at,
            self._book.deadline(),
            self._received.deadline(),
            self._scan_at if self._can_scan() else _NEVER,
            self._look_at,
            self._publish_at if self._can_publish() else _NEVER,
            settled if settled > monotonic() else _NEVER,
        )

    def _examine(self) -> None:
        """See whether bmx7 and its directories are there, and the same as before."""
        now = monotonic()
        new = self._renew_watches()
        running = self._daemons.probe()
        received, sent = self._watches(self._paths.received), self._watches(self._paths.sent)
        if running != self._running:
            new |= {self._paths.received, self._paths.sent}
            self._running, self._since, self._look_at = running, now, now
            self._look_backoff.reset()
        if self._paths.sent in new:
            self._publisher.forgotten()
            self._publish_trouble, self._publish_at = None, now
            self._publish_backoff.reset()
        if self._paths.received in new:
            self._scan_at = now
        if self._paths.received in new or not (running and received):
            self._book.hold(now)
        if self._paths.received in new and running and received:
            self._book.release(now)
        if running and received and sent:
            self._examine_at = _NEVER
            self._examine_backoff.reset()
        else:
            self._examine_at = now + self._examine_backoff()

    def _renew_watches(self) -> set[str]:
        self._watch_trouble = ""
        try:
            if self._watch is None:
                self._watch = DirectoryWatch(
                    (self._paths.runtime, self._paths.received, self._paths.sent),
                    happened=self._happened,
                    changed=self._lost,
                )
            return self._watch.renew()
        except OSError as error:
            self._watch_trouble = f"{error.filename} can't be watched: {error.strerror}."
            return set()

    async def _scan(self) -> None:
        self._scan_at, self._scan_trouble = _NEVER, ""
        try:
            await self._received.scan()
        except OSError as error:
            self._scan_trouble = f"{self._paths.received} can't be read: {error.strerror}."
            self._scan_at = monotonic() + self._scan_backoff()
        else:
            self._scan_backoff.reset()

    async def _look(self) -> None:
        """Ask who we are, where the others are and how good the way is."""
        self._look_at = _NEVER
        overview, self._look_trouble = await look(
            self._paths, self._book, limit=self._timings.answer
        )
        self._looked_at = now = monotonic()
        # A file may be older than the daemon: it is believed only as long as we know nothing.
        believed = self._look_trouble is None or self._own is None
        if overview.own is not None and overview.own != self._own and believed:
            self._identified(overview.own)
        self._interfaces = overview.interfaces or self._interfaces
        self._book.learned(overview.nodes)
        missing = any(self._book.lacks_endpoint(node_id) for node_id in self._book)
        if self._look_trouble or missing or not (self._own and self._interfaces):
            again = self._look_backoff()
        else:
            again = self._refresh
            self._look_backoff.reset()
        self._look_at = min(self._look_at, now + again)  # something may have happened meanwhile

    def _identified(self, own: NodeIdentity) -> None:
        self._own = own
        self._received.own = own.node_id
        self._book.forget(own.node_id)
        self._observe(Identified(own.node_id, own.name, Origin.BMX7))

    async def _publish(self) -> None:
        self._publish_trouble = None
        try:
            await self._publisher.publish(limit=self._timings.answer)
        except PublishError as error:
            self._publish_trouble = error
            self._publish_at = monotonic() + self._publish_backoff()
        else:
            self._publish_backoff.reset()

    def _judge(self) -> tuple[SourceState, str]:
        """How we do, and what somebody could do about it; the first reason hides the others."""
        waiting, failed = SourceState.WAITING, SourceState.FAILED
        look_trouble, publish_trouble = self._look_trouble, self._publish_trouble
        if self._watch_trouble:
            return failed, self._watch_trouble
        if not self._watches(self._paths.runtime):
            return waiting, (
                f"bmx7 is not there: no directory {self._paths.runtime}. Start bmx7, "
                "or say where it is with runtime-dir= in [discovery.bmx7]."
            )
        if self._daemons.refused:
            return failed, f"{self._paths.socket} is not for this user; be root, as bmx7 is."
        if not self._running:
            return waiting, f"bmx7 is not running: nobody answers at {self._paths.socket}."
        if not (self._watches(self._paths.received) and self._watches(self._paths.sent)):
            if monotonic() < self._since + self._timings.settle:
                return waiting, "bmx7 is starting."
            return failed, (
                f"bmx7 has no {self._paths.sms}: it runs without its plugin for small files. "
                "Start it with plugin=bmx7_sms.so."
            )
        if self._scan_trouble:
            return failed, self._scan_trouble
        if isinstance(look_trouble, Unanswered):
            return waiting, str(look_trouble)
        if publish_trouble is not None:
            return (waiting if publish_trouble.passing else failed), str(publish_trouble)
        if self._own is None:
            return (failed, str(look_trouble)) if look_trouble else (waiting, "bmx7 is starting.")
        return SourceState.READY, ""

    def _watches(self, directory: str) -> bool:
        return self._watch is not None and self._watch.watches(directory)

    def _can_scan(self) -> bool:
        return self._watches(self._paths.received)

    def _can_publish(self) -> bool:
        sent = self._watches(self._paths.sent)
        return self._running is not None and sent and self._publisher.pending

    # -- what happens -----------------------------------------------------------------------

    def _doubt(self) -> None:
        """Something of bmx7 itself changed; see what."""
        self._examine_at = 0.0
        self._examine_backoff.reset()
        self._wake.set()

    def _lost(self) -> None:
        """Directories came or went, or events were lost."""
        self._scan_at = 0.0
        self._doubt()

    def _happened(self, directory: str, event: Event) -> None:
        if directory == self._paths.received:
            if self._received.happened(event):
                self._flush()
                self._wake.set()
        elif directory == self._paths.runtime and event.name in (b"pid", b"sock"):
            self._doubt()

    def _unplaced(self) -> None:
        """A node was heard, but not where it is: ask, for all that come at once."""
        self._look_backoff.reset()
        soon = max(monotonic() + self._timings.gather, self._looked_at + self._timings.pause)
        self._look_at = min(self._look_at, soon)

    def _flush(self) -> None:
        if self._own is not None:
            for observation in self._book.drain():
                self._observe(observation)

    def _tell(self, status: SourceStatus) -> None:
        if status != self._status:
            self._status = status
            self._observe(status)
