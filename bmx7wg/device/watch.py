"""Notices what others do to the device: rtnetlink's events, and the end of wireguard-go."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final

from ..netlink import Overrun
from ..rtnetlink import RTPROT_KERNEL, Address, Events, Forwarding, Group, Link, Route, Rule
from .backend import PROTOCOL
from .base import DeviceError

_GROUPS = (
    Group.LINK,
    *(Group.IPV4_ADDRESS, Group.IPV4_ROUTE, Group.IPV4_RULE, Group.IPV4_NETCONF),
    *(Group.IPV6_ADDRESS, Group.IPV6_ROUTE, Group.IPV6_RULE, Group.IPV6_NETCONF),
)
_PAUSE: Final = 0.05  # s between two comparisons: links of others may come and go without end


class Watch:
    """Events say only *that* something changed; *compare* then looks at what it is like now.

    So our own changes, which make events too, need no bookkeeping: there is no difference, and
    nothing is said. The same difference is said once until `settled` is called. *compare* is told
    whether the process that works on the device has ended.
    """

    def __init__(
        self,
        compare: Callable[[bool], Awaitable[list[str]]],
        changed: Callable[[str], None],
    ) -> None:
        #: Where the device was moved to, until it is settled again; see `rtnetlink.Event`.
        self.moved: tuple[int, int] | None = None
        #: Of our routes; in these another's may have come in place of one.
        self.tables: frozenset[int] = frozenset()
        self._compare = compare
        self._changed = changed
        self._index = 0
        self._said: set[str] = set()
        self._pulse: int | None = None
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._loop = asyncio.get_running_loop()
        self._events = Events(*_GROUPS, protocols=(RTPROT_KERNEL, PROTOCOL))
        self._loop.add_reader(self._events.fileno(), self._on_event)

    def settled(self, index: int, pulse: int | None) -> None:
        """The device stands. *pulse*, ours from now on, is readable when its process has ended."""
        self._index = index
        self.moved = None
        self._said.clear()
        self._forget_pulse()
        self._pulse = pulse
        self._ended = False
        if pulse is not None:
            self._loop.add_reader(pulse, self._on_death)

    async def close(self) -> None:
        self._forget_pulse()
        self._loop.remove_reader(self._events.fileno())
        self._events.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_event(self) -> None:
        try:
            events = self._events.get()
        except Overrun:
            self._look()
            return
        for event in events:
            link = event.subject
            if event.moved is not None and isinstance(link, Link) and link.index == self._index:
                self.moved = event.moved
        if any(self._concerns(event.subject) for event in events):
            self._look()

    def _concerns(self, subject: Link | Address | Route | Rule | Forwarding) -> bool:
        match subject:
            case Link() | Forwarding():
                return True  # any link may be part of the underlay
            case Rule():
                return subject.protocol == PROTOCOL
            case Route():
                return subject.index == self._index or subject.table in self.tables
        return subject.index == self._index

    def _on_death(self) -> None:
        self._forget_pulse()
        self._ended = True
        self._look()

    def _forget_pulse(self) -> None:
        if self._pulse is not None:
            self._loop.remove_reader(self._pulse)
            os.close(self._pulse)
            self._pulse = None

    def _look(self) -> None:
        if self._task is not None and not self._task.done():
            self._again = True
        elif self._index:
            self._task = self._loop.create_task(self._compare_and_say())

    async def _compare_and_say(self) -> None:
        self._again = True
        while self._again:
            self._again = False
            ended = self._ended
            try:
                sentences = await self._compare(ended)
            except DeviceError as error:
                sentences = [str(error)]
            if ended and not self._ended:  # another works on the device meanwhile
                self._again = True
                continue
            for sentence in sentences:
                if sentence not in self._said:
                    self._said.add(sentence)
                    self._changed(sentence)
            await asyncio.sleep(_PAUSE)
