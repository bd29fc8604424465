"""The way to the service: a connection, and its errors as those of a command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..bus.client import BusUnavailable, Client, ServiceNotRunning
from .output import NotRunning
from .view import Snapshot

START = "start it: systemctl start bmx7-wg"


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """A client of the running service; NotRunning when there is none, also later on."""
    try:
        client = await Client.connect()
        try:
            yield client
        finally:
            await client.close()
    except ServiceNotRunning:
        raise NotRunning("the service is not running", (START,)) from None
    except BusUnavailable as error:
        raise NotRunning(
            f"the system bus can't be reached: {error}", ("start it: systemctl start dbus",)
        ) from None


def snapshot() -> Snapshot:
    """What the service shows now."""

    async def look() -> Snapshot:
        async with connected() as client:
            return Snapshot.of(await client.managed_objects())

    return asyncio.run(look())
