"""The way to the service: a connection, and its errors as those of a command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ..bus.client import BusUnavailable, CallError, Client, ServiceNotRunning
from .output import CommandError, NotRunning
from .view import Snapshot

START: Final = "systemctl start bmx7-wg"


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """A client of the running service; NotRunning when there is none, also later on."""
    try:
        async with await Client.connect() as client:
            yield client
    except ServiceNotRunning:
        raise NotRunning("the service is not running", (f"start it: {START}",)) from None
    except BusUnavailable as error:
        hint = "start it: systemctl start dbus"
        raise NotRunning(f"the system bus can't be reached: {error}", (hint,)) from None
    except CallError as error:
        hint = "see its journal: journalctl -u bmx7-wg"
        raise CommandError(f"the service does not answer: {error.text}", (hint,)) from None


def snapshot() -> Snapshot:
    """What the service shows now."""

    async def look() -> Snapshot:
        async with connected() as client:
            return Snapshot.of(await client.managed_objects())

    return asyncio.run(look())
