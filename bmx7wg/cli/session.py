"""The way to the service: a connection, and its errors as those of a command."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from ..bus.client import BusUnavailable, CallError, Client, ServiceNotRunning
from .output import CommandError, NoSuchPeer, NotRunning
from .view import Snapshot, Values

START: Final = "systemctl start bmx7-wg"
JOURNAL: Final = "see its journal: journalctl -u bmx7-wg"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"

T = TypeVar("T")


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
        raise refused(error) from None


def ask(work: Callable[[Client], Awaitable[T]]) -> T:
    """What *work* makes of a client of the running service. Raises CommandError."""

    async def asking() -> T:
        async with connected() as client:
            return await work(client)

    return asyncio.run(asking())


def snapshot() -> Snapshot:
    """What the service shows now."""
    return ask(look)


async def look(client: Client) -> Snapshot:
    return Snapshot.of(await client.managed_objects())


async def properties(client: Client, path: str, interface: str) -> Values:
    """An object's properties; none if it is not there."""
    try:
        values: dict[str, Any] = await client.call(path, PROPERTIES, "GetAll", "s", (interface,))
    except CallError as error:
        if kind(error) == "UnknownObject":
            return {}
        raise
    return values


def kind(error: CallError) -> str:
    """The last word of an error's name: "AccessDenied"."""
    return error.name.rpartition(".")[2]


def refused(error: CallError) -> CommandError:
    """What an error on the bus means to the one who typed the command."""
    text = error.text.rstrip(".")
    match kind(error):
        case "AccessDenied" | "InteractiveAuthorizationRequired":
            return CommandError(f"not allowed: {text}", _as_root())
        case "NoSuchPeer" | "UnknownObject":
            return NoSuchPeer(text, ("known peers: bmx7-wg peers",))
        case "PeerExists":
            return CommandError(text, ("see it: bmx7-wg peers; take it away: bmx7-wg remove NODE",))
        case "NotReady" | "DeviceFailed" | "SourceUnavailable":
            return CommandError(text, ("see what is missing: bmx7-wg status",))
        case "InvalidArgument" | "InvalidArgs" | "LimitReached":
            return CommandError(text)
        case "UnknownMethod" | "UnknownInterface":
            return CommandError(text, ("the service may be of another version: bmx7-wg status",))
        case "NoReply" | "Timeout":
            return CommandError(f"the service does not answer: {text}", (JOURNAL,))
    return CommandError(f"the service can't do it: {text}", (JOURNAL,))


def _as_root() -> tuple[str, ...]:
    if os.geteuid() == 0:
        return (JOURNAL,)
    command = shlex.join(["sudo", "bmx7-wg", *sys.argv[1:]])
    return (f"as root: {command}", "or let a rule of polkit allow it: man polkit")
