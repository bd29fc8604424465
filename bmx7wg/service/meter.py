"""Sends the probes by which ways to gateways are judged (core/pathmeter.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import IPv6Address


class Meter:
    """Probes under way, each a task of its own, so that a silent peer holds up nobody.

    *measure* gives the seconds to an address and back, or raises TimeoutError.
    """

    def __init__(self, measure: Callable[[IPv6Address], Awaitable[float]]) -> None:
        self._measure = measure
        self._tasks: set[asyncio.Task[None]] = set()

    def probe(
        self, address: IPv6Address, patience: float, measured: Callable[[float | None], None]
    ) -> None:
        """Send one, and call *measured* with the seconds, or None if it takes over *patience*."""
        task = asyncio.create_task(self._probe(address, patience, measured))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget those under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _probe(
        self, address: IPv6Address, patience: float, measured: Callable[[float | None], None]
    ) -> None:
        round_trip = None
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                round_trip = await self._measure(address)
        measured(round_trip)
