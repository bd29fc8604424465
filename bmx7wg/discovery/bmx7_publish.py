"""Has bmx7 announce this node: the file in ``sendSms``, and the order to send it."""

from __future__ import annotations

import os

from .bmx7_control import ControlError, Refused, Unanswered, ask
from .bmx7_files import FILE, Paths, remove, write_atomically
from .text import printable


class PublishError(Exception):
    """bmx7 does not announce us; the text says why and what to do about it.

    ``passing`` if that may end without anybody's doing.
    """

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class Publisher:
    """What we want to be announced, and whether bmx7 was told."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._payload: bytes | None = None
        self._written: bytes | None = None
        self._ordered = False

    def say(self, payload: bytes) -> None:
        """Announce this from now on."""
        self._payload = payload

    def forgotten(self) -> None:
        """bmx7 or its directory is another: it is to be told anew."""
        self._written, self._ordered = None, False

    @property
    def pending(self) -> bool:
        return self._payload is not None and not (self._ordered and self._written == self._payload)

    async def publish(self, *, limit: float) -> None:
        """Write the file if it changed; order it to be sent if bmx7 was not told yet.

        bmx7 notices later changes of the file by itself. Raises PublishError.
        """
        payload = self._payload
        if payload is None:
            return
        try:
            write_atomically(self._paths.sent, payload)
        except OSError as error:
            reason = error.strerror or str(error)
            raise PublishError(
                f"{self._paths.sent} can't be written: {reason}. "
                "It belongs to bmx7, which runs as root; so must this service."
            ) from None
        self._written = payload
        if not self._ordered:
            try:
                await self._order(f"syncSms={FILE}", limit)
            except Refused as error:
                raise PublishError(
                    "bmx7 does not take the announcement; start it with plugin=bmx7_sms.so. "
                    f"{printable(str(error), 200)}"
                ) from None
            except ControlError as error:
                raise PublishError(str(error), passing=isinstance(error, Unanswered)) from None
            self._ordered = True

    async def withdraw(self, *, limit: float) -> None:
        """Take the announcement back, as far as that can be done; also that of an earlier run."""
        file = os.path.join(self._paths.sent, FILE)
        try:
            if self._ordered or os.path.lexists(file):
                await self._order(f"syncSms=-{FILE}", limit)
        except ControlError:
            pass  # a bmx7 that is not there announces nothing
        try:
            remove(file)
        except OSError:
            pass
        self.forgotten()

    async def _order(self, word: str, limit: float) -> None:
        await ask(self._paths.socket, word, limit=limit)


async def withdraw_left(runtime_dir: str, *, limit: float) -> None:
    """Take back what an earlier run has announced, if it did not do so itself."""
    await Publisher(Paths(runtime_dir)).withdraw(limit=limit)
