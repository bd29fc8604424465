"""Who may change something: root, and whom polkit lets. Everything that asks it asks here.

The caller is asked about by his name on the bus, which nobody can forge. What is not clearly
allowed is denied: no polkit, an error of it, no answer in time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Final

from .connection import Connection
from .errors import (
    ACCESS_DENIED,
    INTERACTION_REQUIRED,
    LIMITS_EXCEEDED,
    NO_REPLY,
    SERVICE_UNKNOWN,
    CallError,
)
from .names import BUS, NAME
from .wire import Flag, Header

#: Actions of org.bmx7.WireGuard1.policy.
MANAGE_PEERS: Final = NAME + ".manage-peers"
MANAGE_NETWORKS: Final = NAME + ".manage-networks"
ROTATE_KEY: Final = NAME + ".rotate-key"
RELOAD: Final = NAME + ".reload"

ASK_TIMEOUT: Final = 20.0  # s; less than a caller waits (25 s), so that he is told
INTERACTIVE_TIMEOUT: Final = 300.0  # s; somebody looks for a password
MAX_ASKED: Final = 128  # questions about one user that polkit has at a time

_POLKIT: Final = "org.freedesktop.PolicyKit1"
_POLKIT_PATH: Final = "/org/freedesktop/PolicyKit1/Authority"
_AUTHORITY: Final = "org.freedesktop.PolicyKit1.Authority"
_ALLOW_INTERACTION: Final = 1


class CallerGone(Exception):
    """The caller left the bus before it was known whether he may."""


class Authority:
    """Asks the bus who a caller is, and polkit what he may."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._asked: Counter[int] = Counter()  # by user id
        self._gone: dict[str, list[asyncio.Future[None]]] = {}  # by the caller's unique name

    async def check_root(self, connection: Connection, call: Header) -> None:
        """Return if the caller is root. Raises CallError, CallerGone."""
        if await self._user(connection, call.sender):
            raise CallError(ACCESS_DENIED, "Only root may do this.")

    async def check(self, connection: Connection, call: Header, action: str) -> None:
        """Return if the caller may do *action*. Raises CallError, CallerGone.

        A user is asked for a password only if the call allows it.
        """
        user = await self._user(connection, call.sender)
        if not user:
            return  # polkit says the same of root, but may not be there
        if self._asked[user] >= MAX_ASKED:
            text = f"{MAX_ASKED} calls of this user wait for authorization."
            raise CallError(LIMITS_EXCEEDED, text)
        self._asked[user] += 1
        try:
            await self._unless_gone(connection, call, action)
        finally:
            self._asked[user] -= 1
            if not self._asked[user]:
                del self._asked[user]

    def name_owner_changed(self, name: str, owner: str) -> None:
        """A name on the bus changed hands; nobody has it any more if *owner* is empty."""
        if not owner:
            for gone in self._gone.get(name, ()):
                if not gone.done():
                    gone.set_result(None)

    async def _user(self, connection: Connection, caller: str) -> int:
        """The user id of who is behind a unique name, as the bus knows it."""
        try:
            (user,) = await connection.call_bus("GetConnectionUnixUser", "s", caller)
        except CallError as error:
            if error.name == NO_REPLY:
                raise CallError(ACCESS_DENIED, "The bus does not say who calls.") from None
            raise CallerGone from None
        return int(user)

    async def _unless_gone(self, connection: Connection, call: Header, action: str) -> None:
        """Ask polkit, and stop asking when the caller leaves."""
        caller = call.sender
        gone = asyncio.get_running_loop().create_future()
        match = (
            f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',"
            f"arg0='{caller}'"
        )
        self._gone.setdefault(caller, []).append(gone)
        connection.tell_bus("AddMatch", "s", match)
        asking = asyncio.ensure_future(self._ask(connection, call, action))
        try:
            await asyncio.wait((asking, gone), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise CallerGone
            asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            connection.tell_bus("RemoveMatch", "s", match)
            self._gone[caller].remove(gone)
            if not self._gone[caller]:
                del self._gone[caller]

    async def _ask(self, connection: Connection, call: Header, action: str) -> None:
        interactive = bool(call.flags & Flag.ALLOW_INTERACTIVE_AUTHORIZATION)
        timeout = INTERACTIVE_TIMEOUT if interactive else ASK_TIMEOUT
        cancellation = str(next(self._numbers))
        question: tuple[object, ...] = (
            ("system-bus-name", {"name": ("s", call.sender)}),
            action,
            {},
            _ALLOW_INTERACTION if interactive else 0,
            cancellation,
        )
        try:
            async with asyncio.timeout(timeout):
                allowed, challenge = await self._answer(connection, question, timeout)
        except (TimeoutError, asyncio.CancelledError) as error:
            # Nobody waits for it any more: a dialog that is open shall close.
            connection.tell(
                *(_POLKIT, _POLKIT_PATH, _AUTHORITY, "CancelCheckAuthorization"),
                *("s", (cancellation,)),
            )
            if isinstance(error, asyncio.CancelledError):
                raise
            raise CallError(ACCESS_DENIED, f"polkit did not answer in {timeout:g} s.") from None
        if challenge and not allowed:
            text = f"{action} takes authentication, which this call does not allow to ask for."
            if interactive:
                text = f"{action} takes authentication, and nobody is there to ask for it."
            raise CallError(INTERACTION_REQUIRED, text)
        if not allowed:
            raise CallError(ACCESS_DENIED, f"polkit does not allow this user {action}.")

    async def _answer(
        self, connection: Connection, question: tuple[object, ...], timeout: float
    ) -> tuple[bool, bool]:
        """Whether the caller is authorized, and whether authentication would help."""

        async def call() -> list[object]:
            return await connection.call(
                *(_POLKIT, _POLKIT_PATH, _AUTHORITY, "CheckAuthorization"),
                *("(sa{sv})sa{ss}us", question),
                timeout=2 * timeout,  # the caller's ends before
            )

        try:
            try:
                values = await call()
            except CallError as error:
                if error.name != NO_REPLY:
                    raise
                values = await call()  # polkit was restarted while it had our question
        except CallError as error:
            why = "polkit could not be asked"
            if error.name == SERVICE_UNKNOWN:
                why = "there is no polkit, so only root may do this"
            raise CallError(ACCESS_DENIED, f"{why} ({error.text}).") from None
        match values:
            case [(bool(allowed), bool(challenge), _)]:
                return allowed, challenge
        raise CallError(ACCESS_DENIED, "polkit's answer makes no sense.")
