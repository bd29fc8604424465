"""A stand-in of polkit that answers as a test tells it, and callers who are not root."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bmx7wg.bus.client import Client
from bmx7wg.bus.connection import Connection
from bmx7wg.bus.library import Incoming
from bmx7wg.bus.values import marshal

NAME = "org.freedesktop.PolicyKit1"
NOBODY = 65534

YES = (True, False, {})
NO = (False, False, {})
CHALLENGE = (False, True, {})


class Polkit:
    """Keeps what it was asked; answers at once what `says` tells, or when `answer` is called."""

    def __init__(self) -> None:
        self.says: Callable[[list[Any]], tuple[bool, bool, dict[str, str]] | None]
        self.says = lambda question: None
        self.asked: list[Incoming] = []
        self.cancelled: list[str] = []
        self.connection = Connection(on_call=self._called)

    async def start(self) -> Polkit:
        await self.connection.open()
        assert await self.connection.call_bus("RequestName", "su", NAME, 4) == [1]
        return self

    def stop(self) -> None:
        """It ends without a word."""
        self.connection.close()

    @property
    def questions(self) -> list[tuple[str, str, int]]:
        """Who was asked about, for which action, with which flags."""
        found = []
        for call in self.asked:
            (kind, subject), action, details, flags, cancellation = call.body
            assert (kind, details) == ("system-bus-name", {}) and cancellation
            found.append((subject["name"], action, flags))
        return found

    def answer(self, number: int, result: tuple[bool, bool, dict[str, str]]) -> None:
        body = marshal("(bba{ss})", (result,))
        self.connection.answer(self.asked[number].header, "(bba{ss})", body)

    def _called(self, connection: Connection, call: Incoming) -> None:
        if call.header.member == "CancelCheckAuthorization":
            self.cancelled += call.body
            return
        assert call.header.member == "CheckAuthorization"
        assert call.header.signature == "(sa{sv})sa{ss}us"
        self.asked.append(call)
        result = self.says(call.body)
        if result is not None:
            self.answer(len(self.asked) - 1, result)


@asynccontextmanager
async def polkit(*, says: tuple[bool, bool, dict[str, str]] | None = None) -> AsyncIterator[Polkit]:
    standin = Polkit()
    standin.says = lambda question: says
    await standin.start()
    try:
        yield standin
    finally:
        standin.stop()


async def connect_as_nobody() -> Client:
    """A client whom the bus knows as the user nobody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getuid", lambda: NOBODY)  # what the library tells the bus
        os.seteuid(NOBODY)  # what the kernel tells the bus
        try:
            return await Client.connect()
        finally:
            os.seteuid(0)
