"""``bmx7-wg monitor``: changes as they happen, as lines for people or for programs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..bus.client import (
    DEVICE,
    MANAGER,
    NETWORK,
    PEER,
    Added,
    Appeared,
    Changed,
    Client,
    Event,
    Removed,
    ServiceNotRunning,
    Vanished,
)
from .changes import describe, describe_network, introduce, subject
from .networks import network_counts
from .output import NotRunning, Output, Status
from .peers import counts
from .session import START, connected
from .table import wrapped
from .terminal import Terminal, printable, width
from .view import Peer, Snapshot, Values, label_of

_RECONNECT: Final = 1.0  # s; a bus that is gone tells nobody of its return
_ABOUT: Final = 18  # columns for whom a line is about
_KINDS: Final = {MANAGER: "manager", DEVICE: "device", PEER: "peer", NETWORK: "network"}


def monitor(output: Output) -> Status:
    """Follow the service until interrupted; NotRunning if it isn't there at the beginning."""
    asyncio.run(_Monitor(output).run())
    return Status.OK


class _Monitor:
    def __init__(self, output: Output) -> None:
        self._output = output
        self._objects: dict[str, dict[str, dict[str, Any]]] | None = None  # None: service gone

    async def run(self) -> None:
        begun = False
        while True:
            try:
                async with connected() as client:
                    begun = True
                    await self._follow(client)
            except NotRunning:
                if not begun:
                    raise
                self._gone()
                await asyncio.sleep(_RECONNECT)

    async def _follow(self, client: Client) -> None:
        events = client.follow()  # first: nothing may be missed between reading and following
        await self._read(client)
        async for event in events:
            if isinstance(event, Appeared):
                await self._read(client)
            else:
                self._take(event)
            self._output.flush()

    async def _read(self, client: Client) -> None:
        try:
            self._objects = await client.managed_objects()
        except ServiceNotRunning:
            return  # it left again; an event says so
        snapshot = Snapshot.of(self._objects)
        if self._output.json:
            self._document("snapshot", snapshot.to_json())
        else:
            manager = snapshot.manager
            self._line("service", f"{manager.state}, {counts(snapshot, Terminal())}")
            if snapshot.networks:
                self._line("service", network_counts(snapshot, Terminal()))
            for problem in manager.problems:
                self._line("service", f"problem: {problem}", "bad")
        self._output.flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, Vanished):
            self._gone()
        elif self._objects is None:
            return  # from before it left, or before it was read
        elif isinstance(event, Added):
            for interface, values in event.interfaces.items():
                self._added(event.path, interface, values)
        elif isinstance(event, Removed):
            self._removed(event.path, event.interfaces)
        elif isinstance(event, Changed):
            self._changed(event.path, event.interface, event.properties)

    def _gone(self) -> None:
        if self._objects is None:
            return
        self._objects = None
        if self._output.json:
            self._document("service-gone", {})
        else:
            self._line("service", f"gone; waiting for it ({START})", "bad")
        self._output.flush()

    def _added(self, path: str, interface: str, values: Values) -> None:
        assert self._objects is not None
        here = self._objects.setdefault(path, {})
        if interface in here:
            self._changed(path, interface, values)
            return
        here[interface] = dict(values)
        if kind := _KINDS.get(interface):
            self._tell(f"{kind}-added", kind, values, introduce(kind, values, self._label), "good")

    def _removed(self, path: str, interfaces: Sequence[str]) -> None:
        assert self._objects is not None
        here = self._objects.get(path, {})
        for interface in interfaces:
            values = here.pop(interface, None)
            kind = _KINDS.get(interface)
            if kind and values is not None:
                self._tell(f"{kind}-removed", kind, values, ["gone"], "dim")
        if not here:
            self._objects.pop(path, None)

    def _changed(self, path: str, interface: str, properties: Values) -> None:
        assert self._objects is not None
        values = self._objects.get(path, {}).get(interface)
        kind = _KINDS.get(interface)
        if values is None or kind is None:
            return
        before = {
            name: values.get(name)
            for name, value in properties.items()
            if name not in values or values[name] != value
        }
        if not before:
            return
        values.update(properties)
        if kind == "network":
            told = describe_network(before, values, self._label)
        else:
            told = describe(kind, before, values, self._output.terminal)
        self._tell(f"{kind}-changed", kind, values, told, before=before)

    def _label(self, path: str) -> str:
        assert self._objects is not None
        peer = self._objects.get(path, {}).get(PEER)
        return Peer.of(peer).label if peer else label_of(path)

    def _tell(
        self,
        event: str,
        kind: str,
        values: Values,
        sentences: Sequence[str],
        style: str = "",
        before: Values | None = None,
    ) -> None:
        if self._output.json:
            extra = {} if before is None else {"before": before}
            self._document(event, {kind: values, **extra})
            return
        for sentence in sentences:
            self._line(subject(kind, values), sentence, style)

    def _line(self, about: str, text: str, style: str = "") -> None:
        terminal = self._output.terminal
        about = printable(about)
        head = f"{time.strftime('%H:%M:%S')}  {about}{' ' * (_ABOUT - width(about))}  "
        for line in wrapped(text, terminal, head=head, indent=_ABOUT + 12, style=style):
            self._output.line(line)

    def _document(self, event: str, members: Mapping[str, Any]) -> None:
        document = {"time": time.time_ns() // 1000, "event": event, **members}
        self._output.document(document, compact=True)
