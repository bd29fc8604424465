"""One connection to a message bus; the only file that touches the inside of dbus-next.

The library finds the address, authenticates, says Hello and keeps the table of calls. What reads
and writes is ours, because dbus-next 0.2.3 as it comes
- ends the connection at a full socket, an unknown header field, a body that can't be decoded,
- holds the event loop for as long as one client floods it,
- decodes a body before anybody asked whether the message is wanted, and keeps every signature
  that it ever saw,
- spins for ever when the bus hangs up during authentication, and never closes its socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from dbus_next import BusType
from dbus_next.aio import MessageBus
from dbus_next.errors import InvalidAddressError

from .errors import FAILED, LIMITS_EXCEEDED, NO_REPLY, UNKNOWN_OBJECT, BusUnavailable, CallError
from .names import BUS, BUS_PATH
from .values import marshal, unmarshal
from .wire import FIXED_HEADER, Flag, Framing, Header, Kind, message, parse_header, sizes
from .writer import Writer

CONNECT_TIMEOUT: Final = 5.0  # s; a bus that is there answers in milliseconds
CALL_TIMEOUT: Final = 25.0  # s; what libdbus takes
FLUSH_TIMEOUT: Final = 1.0  # s

MAX_HEADER: Final = 8 * 1024  # bytes; the names in it are at most 255, a path may be longer
MAX_CALL_BODY: Final = 64 * 1024  # bytes; the largest honest one is AddPeer with its prefixes
MAX_SIGNAL_BODY: Final = 1024 * 1024  # bytes; InterfacesAdded of one object is far smaller
MAX_REPLY_BACKLOG: Final = 16 * 1024 * 1024  # bytes that wait for one caller
RECEIVE: Final = 64 * 1024  # bytes a turn
TURN: Final = 0.004  # s of dispatching before the loop serves others


class Incoming:
    """A message that came in, its header checked, its body not decoded yet."""

    __slots__ = ("header", "_body")

    def __init__(self, header: Header, body: bytes) -> None:
        self.header: Final = header
        self._body = body

    @property
    def body(self) -> list[Any]:
        """The arguments as plain Python values (see `values`). Raises ValueError."""
        return unmarshal(self.header.signature, self._body, order=self.header.order)


class _Library(MessageBus):  # type: ignore[misc]
    """dbus-next's bus with our reader and writer in place of its own."""

    def __init__(self, address: str | None, owner: Connection) -> None:
        self._owner = owner
        super().__init__(bus_address=address, bus_type=BusType.SYSTEM, negotiate_unix_fd=False)
        self._writer = self
        self._inbox = bytearray()
        self._skip = 0  # bytes of a refused message still to come
        self._queue = Writer(self._loop, self._sock, self._finalize, owner.drained)

    # -- connecting

    def _setup_socket(self) -> None:
        """Connect without blocking the loop, and without leaving a socket behind."""
        error: OSError | None = None
        for transport, options in self._bus_address:
            if transport != "unix" or not ("path" in options or "abstract" in options):
                continue
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.connect(options.get("path") or "\0" + options["abstract"])
            except OSError as problem:
                error = problem
                sock.close()
                continue
            self._sock, self._fd = sock, sock.fileno()
            self._stream = sock.makefile("rwb")  # the library writes its Hello to it
            return
        raise error or InvalidAddressError("no address of a Unix socket")

    async def _auth_readline(self) -> str:
        line = b""
        while not line.endswith(b"\r\n"):
            data = await self._loop.sock_recv(self._sock, 1)
            if not data or len(line) > 1024:
                raise ConnectionError("the bus ended the connection")
            line += data
        return line[:-2].decode("ascii", "replace")

    # -- reading: one recv, what is whole is dispatched, then back to the loop

    def _message_reader(self) -> None:
        try:
            data = self._sock.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            self._finalize(error)
            return
        if not data:
            self._finalize(ConnectionError("the bus ended the connection"))
            return
        self._inbox += data
        self._dispatch()

    def _dispatch(self) -> None:
        until = self._loop.time() + TURN
        try:
            while not self._disconnected and self._next():
                if self._loop.time() > until:
                    self._pause()
                    return
        except Framing as error:
            self._finalize(error)

    def _pause(self) -> None:
        self._loop.remove_reader(self._fd)

        def resume() -> None:
            if not self._disconnected:
                self._loop.add_reader(self._fd, self._message_reader)
                self._dispatch()

        self._loop.call_soon(resume)

    def _next(self) -> bool:
        """Take one message, or a piece of a refused one, from the inbox."""
        inbox = self._inbox
        if self._skip:
            size = min(self._skip, len(inbox))
            del inbox[:size]
            self._skip -= size
            return size > 0
        if len(inbox) < FIXED_HEADER:
            return False
        head, body = sizes(inbox)
        if head > MAX_HEADER:
            self._refuse(head + body)
            return True
        if len(inbox) < head:
            return False
        header = parse_header(bytes(inbox[:head]))
        if header is None or not self._wanted(header):
            self._refuse(head + body)
            return True
        if len(inbox) < head + body:
            return False
        incoming = Incoming(header, bytes(inbox[head : head + body]))
        del inbox[: head + body]
        self._deliver(incoming)
        return True

    def _refuse(self, size: int) -> None:
        self._owner.refused += 1
        self._skip = size

    def _wanted(self, header: Header) -> bool:
        if header.kind == Kind.CALL:
            if header.body_size > MAX_CALL_BODY:
                text = f"The arguments of a call may have {MAX_CALL_BODY} bytes."
                self._owner.answer_error(header, LIMITS_EXCEEDED, text)
                return False
            if self._queue.backlog(header.sender) > MAX_REPLY_BACKLOG:
                return False  # one more answer would only wait behind those
            return bool(header.path and header.member)
        if header.kind == Kind.SIGNAL:
            return header.body_size <= MAX_SIGNAL_BODY and self._owner.wants_signal(header)
        return header.reply_serial in self._method_return_handlers

    def _deliver(self, incoming: Incoming) -> None:
        kind = incoming.header.kind
        if kind == Kind.CALL:
            self._owner.on_call(self._owner, incoming)
        elif kind == Kind.SIGNAL:
            self._owner.on_signal(incoming)
        else:
            self._method_return_handlers.pop(incoming.header.reply_serial)(incoming, None)

    # -- writing

    def schedule_write(self, *_: object) -> None:
        """The library asks for it after its Hello; nothing waits in a queue of its own."""

    def write(self, data: bytes, destination: str = "") -> None:
        self._queue.put(data, destination)

    def backlog(self, destination: str | None = None) -> int:
        return self._queue.backlog(destination)

    # -- the end

    def disconnect(self) -> None:
        self._finalize(None)

    def _finalize(self, err: Exception | None = None) -> None:
        if self._disconnected:
            return
        self._queue.close()
        super()._finalize(None)  # given no error, the library leaves none unretrieved
        self._stream.close()
        self._sock.close()
        self._owner.ended()


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
        on_drained: Callable[[], None] = lambda: None,
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.on_call: Final = on_call or _nothing_here
        self.on_signal: Final = on_signal
        self.wants_signal: Final = wants_signal
        self.refused = 0  # messages passed over: malformed, unwanted or too long
        self.closed: Final = asyncio.Event()
        self._on_drained = on_drained
        self._on_closed = on_closed
        self._empty = asyncio.Event()
        self._library: _Library | None = None

    @property
    def unique_name(self) -> str:
        """The name that the bus gave us; empty before."""
        return (self._library and self._library.unique_name) or ""

    async def open(self, address: str | None = None) -> None:
        """Connect to *address*, by default the system bus. Raises BusUnavailable."""
        where = address or os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "the system bus"
        try:
            self._library = _Library(address, self)
            await asyncio.wait_for(self._library.connect(), CONNECT_TIMEOUT)
        except TimeoutError:
            self.close()
            raise BusUnavailable(f"{where} does not answer") from None
        except Exception as error:  # OSError, AuthError, InvalidAddressError, its own mistakes
            self.close()
            raise BusUnavailable(f"can't connect to {where}: {error}") from None

    def close(self) -> None:
        """Disconnect at once; what is queued is lost."""
        if self._library is not None:
            self._library.disconnect()
        self.closed.set()

    async def flush(self) -> None:
        """Wait until all that is queued went out, but not for ever."""
        self._empty.clear()
        if self.backlog() and not self.closed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), FLUSH_TIMEOUT)

    def backlog(self, destination: str | None = None) -> int:
        """Bytes waiting to go out, to one destination or in all."""
        return self._library.backlog(destination) if self._library else 0

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
        library = self._library
        if library is None or self.closed.is_set():
            raise BusUnavailable("the connection to the bus ended")
        serial = library.next_serial()
        reply: asyncio.Future[Incoming | None] = asyncio.get_running_loop().create_future()

        def answered(answer: Incoming | None, error: Exception | None) -> None:
            if not reply.done():
                reply.set_result(answer)

        # Marshalled before the table knows of it: a wrong argument is ours and raises here.
        data = message(
            Kind.CALL,
            serial,
            flags=flags,
            path=path,
            interface=interface,
            member=member,
            destination=destination,
            signature=signature,
            body=marshal(signature, arguments),
        )
        library._method_return_handlers[serial] = answered
        library.write(data, destination)
        try:
            answer = await asyncio.wait_for(reply, timeout)
        except TimeoutError:
            raise CallError(NO_REPLY, f"{member} was not answered in {timeout:g} s") from None
        finally:
            library._method_return_handlers.pop(serial, None)
        if answer is None:
            raise BusUnavailable("the connection to the bus ended")
        return _result(answer)

    async def call_bus(self, member: str, signature: str = "", *arguments: Any) -> list[Any]:
        """Call a method of the bus itself; as `call`."""
        return await self.call(
            BUS, BUS_PATH, BUS, member, signature, arguments, timeout=CONNECT_TIMEOUT
        )

    def tell_bus(self, member: str, signature: str, *arguments: Any) -> None:
        """Call a method of the bus itself without waiting for its answer."""
        self._send(
            Kind.CALL,
            flags=Flag.NO_REPLY_EXPECTED,
            destination=BUS,
            path=BUS_PATH,
            interface=BUS,
            member=member,
            signature=signature,
            body=marshal(signature, arguments),
        )

    def answer(self, call: Header, signature: str = "", body: bytes | bytearray = b"") -> None:
        """Return from *call*, with a marshalled body, unless the caller wants no answer."""
        self._reply(call, Kind.RETURN, signature, body)

    def answer_error(self, call: Header, name: str, text: str) -> None:
        """Fail *call* with an error name and a sentence."""
        self._reply(call, Kind.ERROR, "s", marshal("s", (text,)), error_name=name)

    def signal(
        self, path: str, interface: str, member: str, signature: str, body: bytes | bytearray
    ) -> None:
        """Tell everybody who listens."""
        self._send(
            Kind.SIGNAL,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body,
        )

    def _reply(
        self,
        call: Header,
        kind: Kind,
        signature: str,
        body: bytes | bytearray,
        *,
        error_name: str = "",
    ) -> None:
        if not call.flags & Flag.NO_REPLY_EXPECTED:
            self._send(
                kind,
                reply_serial=call.serial,
                destination=call.sender,
                error_name=error_name,
                signature=signature,
                body=body,
            )

    def _send(self, kind: Kind, *, destination: str = "", **fields: Any) -> None:
        if self._library is not None and not self.closed.is_set():
            serial = self._library.next_serial()
            self._library.write(
                message(kind, serial, destination=destination, **fields), destination
            )

    # -- from below

    def ended(self) -> None:
        self.closed.set()
        self._empty.set()
        self._on_closed()

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
