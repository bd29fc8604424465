"""One connection to a message bus: calls, answers, signals.

What comes in is bounded and checked by its header before anything else of it is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from .errors import FAILED, LIMITS_EXCEEDED, NO_REPLY, UNKNOWN_OBJECT, BusUnavailable, CallError
from .library import Incoming, Stream
from .names import BUS, BUS_PATH
from .values import marshal
from .wire import Flag, Header, Kind, message

CONNECT_TIMEOUT: Final = 5.0  # s; a bus that is there answers in milliseconds
CALL_TIMEOUT: Final = 25.0  # s; what libdbus takes
FLUSH_TIMEOUT: Final = 1.0  # s

MAX_CALL_BODY: Final = 64 * 1024  # bytes; the largest honest one is AddPeer with its prefixes
MAX_SIGNAL_BODY: Final = 1024 * 1024  # bytes; InterfacesAdded of one object is far smaller
MAX_BACKLOG: Final = 16 * 1024 * 1024  # bytes that wait to go out before calls are passed over


class Connection:
    """A connection from its Hello to its end; after that a new one is made.

    *on_call* and *on_signal* are called on the loop, for messages whose header makes sense;
    a signal's body is read only if *wants_signal* says so.
    """

    def __init__(
        self,
        *,
        on_call: Callable[[Connection, Incoming], None] | None = None,
        on_signal: Callable[[Incoming], None] = lambda signal: None,
        wants_signal: Callable[[Header], bool] = lambda header: False,
        on_caught_up: Callable[[], None] = lambda: None,
        on_drained: Callable[[], None] = lambda: None,
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.closed: Final = asyncio.Event()
        self._on_call = on_call or _nothing_here
        self._on_signal = on_signal
        self._wants_signal = wants_signal
        self._on_caught_up = on_caught_up
        self._on_drained = on_drained
        self._on_closed = on_closed
        self._empty = asyncio.Event()
        self._stream: Stream | None = None

    @property
    def unique_name(self) -> str:
        """The name that the bus gave us; empty before."""
        return (self._stream and self._stream.unique_name) or ""

    @property
    def refused(self) -> int:
        """Messages passed over: malformed, unwanted or too long."""
        return self._stream.refused if self._stream else 0

    async def open(self, address: str | None = None) -> None:
        """Connect to *address*, by default the system bus. Raises BusUnavailable."""
        where = address or os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "the system bus"
        try:
            self._stream = Stream(address, self)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._stream.connect()
        except TimeoutError:
            self.close()
            raise BusUnavailable(f"{where} does not answer") from None
        except asyncio.CancelledError:
            self.close()
            raise
        except Exception as error:  # the library raises whatever comes to hand
            why = (self._stream and self._stream.reason) or error
            self.close()
            raise BusUnavailable(f"can't connect to {where}: {why}") from None

    def close(self) -> None:
        """Disconnect at once; what is queued is lost."""
        if self._stream is not None:
            self._stream.disconnect()
        self.closed.set()

    async def flush(self) -> None:
        """Wait until all that is queued went out, but not for ever."""
        self._empty.clear()
        if self.backlog() and not self.closed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_TIMEOUT):
                    await self._empty.wait()

    def backlog(self) -> int:
        """Bytes waiting to go out."""
        return self._stream.backlog if self._stream else 0

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        arguments: Sequence[Any] = (),
        *,
        flags: Flag = Flag(0),
        timeout: float = CALL_TIMEOUT,
    ) -> list[Any]:
        """Call and wait; arguments as for `values.marshal`, the answer as plain values.

        Raises CallError (an error was answered, or nothing in time) or BusUnavailable.
        """
        stream = self._stream
        if stream is None or self.closed.is_set():
            raise BusUnavailable("the connection to the bus ended")
        serial = stream.next_serial()
        # First of all marshalled: a wrong argument is our own mistake and raises here.
        data = message(
            Kind.CALL,
            serial,
            marshal(signature, arguments),
            flags=flags,
            path=path,
            interface=interface,
            member=member,
            destination=destination,
            signature=signature,
        )
        reply = stream.expect(serial)
        stream.write(data)
        try:
            # wait_for of Python 3.11 loses a cancellation that comes with the answer.
            async with asyncio.timeout(timeout):
                answer = await reply
        except TimeoutError:
            raise CallError(NO_REPLY, f"{member} was not answered in {timeout:g} s") from None
        if answer is None:
            raise BusUnavailable("the connection to the bus ended")
        return _result(answer)

    async def call_bus(self, member: str, signature: str = "", *arguments: Any) -> list[Any]:
        """Call a method of the bus itself; as `call`."""
        return await self.call(
            BUS, BUS_PATH, BUS, member, signature, arguments, timeout=CONNECT_TIMEOUT
        )

    def tell(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str,
        arguments: Sequence[Any],
    ) -> None:
        """Call without waiting for an answer."""
        self._send(
            Kind.CALL,
            marshal(signature, arguments),
            flags=Flag.NO_REPLY_EXPECTED | Flag.NO_AUTO_START,
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
        )

    def tell_bus(self, member: str, signature: str, *arguments: Any) -> None:
        """Call a method of the bus itself without waiting for its answer."""
        self.tell(BUS, BUS_PATH, BUS, member, signature, arguments)

    def answer(self, call: Header, signature: str = "", body: bytes | bytearray = b"") -> None:
        """Return from *call*, with a marshalled body, unless the caller wants no answer."""
        self._reply(call, Kind.RETURN, body, signature=signature)

    def answer_error(self, call: Header, name: str, text: str) -> None:
        """Fail *call* with an error name and a sentence."""
        self._reply(call, Kind.ERROR, marshal("s", (text,)), signature="s", error_name=name)

    def signal(
        self, path: str, interface: str, member: str, signature: str, body: bytes | bytearray
    ) -> None:
        """Tell everybody who listens."""
        self._send(
            Kind.SIGNAL, body, path=path, interface=interface, member=member, signature=signature
        )

    def _reply(self, call: Header, kind: Kind, body: bytes | bytearray, **fields: str) -> None:
        if not call.wants_no_reply:
            self._send(kind, body, reply_serial=call.serial, destination=call.sender, **fields)

    def _send(self, kind: Kind, body: bytes | bytearray, **fields: Any) -> None:
        if self._stream is not None:  # which drops what comes after its end
            self._stream.write(message(kind, self._stream.next_serial(), body, **fields))

    # -- for the stream

    def wants(self, header: Header) -> bool:
        if header.kind == Kind.SIGNAL:
            return header.body_size <= MAX_SIGNAL_BODY and self._wants_signal(header)
        if header.kind != Kind.CALL or not header.path or not header.member:
            return False
        if header.body_size > MAX_CALL_BODY:
            text = f"The arguments of a call may have {MAX_CALL_BODY} bytes."
            self.answer_error(header, LIMITS_EXCEEDED, text)
            return False
        # One more answer would only wait behind those.
        return self.backlog() <= MAX_BACKLOG

    def deliver(self, incoming: Incoming) -> None:
        if incoming.header.kind == Kind.CALL:
            self._on_call(self, incoming)
        else:
            self._on_signal(incoming)

    def ended(self) -> None:
        self.closed.set()
        self._empty.set()
        self._on_closed()

    def caught_up(self) -> None:
        self._on_caught_up()

    def drained(self) -> None:
        self._empty.set()
        self._on_drained()


def _nothing_here(connection: Connection, call: Incoming) -> None:
    connection.answer_error(call.header, UNKNOWN_OBJECT, "There are no objects here.")


def _result(answer: Incoming) -> list[Any]:
    try:
        values = answer.body
    except ValueError as error:
        raise CallError(FAILED, str(error)) from None
    if answer.header.kind == Kind.RETURN:
        return values
    text = values[0] if values and isinstance(values[0], str) else ""
    raise CallError(answer.header.error_name, text)
