"""The one file that touches dbus-next.

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
import importlib
import logging
import socket
import sys
from types import ModuleType
from typing import Any, Final, Protocol

from .values import unmarshal
from .wire import FIXED_HEADER, Framing, Header, Kind, parse_header, sizes
from .writer import Writer

_log = logging.getLogger(__name__)

MAX_HEADER: Final = 8 * 1024  # bytes; the names in it are at most 255, a path may be longer
RECEIVE: Final = 64 * 1024  # bytes a turn
TURN: Final = 0.003  # s of work before the loop serves others


def _dbus_next() -> ModuleType:
    """The library's asyncio half.

    By itself it brings its GLib half too and with that, where it is installed, PyGObject:
    12 ms and 4 MB for nothing.
    """
    glib = "dbus_next.glib"
    absent = glib not in sys.modules
    sys.modules.setdefault(glib, ModuleType(glib))
    try:
        return importlib.import_module("dbus_next.aio.message_bus")
    finally:
        if absent:
            del sys.modules[glib]  # who wants it later gets the real one


_library = _dbus_next()
_MessageBus: Any = _library.MessageBus
_BusType: Any = _library.BusType


class Incoming:
    """A message that came in, its header checked, its body not decoded yet."""

    __slots__ = ("header", "last", "_body", "_values")

    def __init__(self, header: Header, body: bytes, *, last: bool) -> None:
        self.header: Final = header
        self.last: Final = last  # nothing came behind it yet
        self._body = body
        self._values: list[Any] | None = None

    @property
    def body(self) -> list[Any]:
        """The arguments as plain Python values (see `values`). Raises ValueError."""
        if self._values is None:
            self._values = unmarshal(self.header.signature, self._body, order=self.header.order)
        return self._values


class Owner(Protocol):
    """Who a stream works for; called on the loop."""

    def wants(self, header: Header) -> bool:
        """Whether this call or signal is to be delivered; its body may not be there yet."""

    def deliver(self, incoming: Incoming) -> None:
        """Take a call or a signal."""

    def caught_up(self) -> None:
        """What came in this turn was delivered; what is written now goes out at once."""

    def drained(self) -> None:
        """All that was written went out."""

    def ended(self) -> None:
        """There is no connection any more."""


class Stream(_MessageBus):  # type: ignore[misc]
    """dbus-next's bus with a reader and a writer of ours; `connect` is the library's own."""

    def __init__(self, address: str | None, owner: Owner) -> None:
        self._owner = owner
        super().__init__(bus_address=address, bus_type=_BusType.SYSTEM, negotiate_unix_fd=False)
        self._writer = self
        self._inbox = bytearray()
        self._at = 0  # how far the inbox is read
        self._skip = 0  # bytes of a refused message still to come
        self._queue = Writer(self._loop, self._sock, self._finalize, owner.drained)
        self.write: Final = self._queue.put
        self.refused = 0  # messages passed over: malformed, unwanted or too long
        self.reason: Exception | None = None  # for which it ended, if it was not closed by us

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
        raise error or ConnectionError("this is no address of a Unix socket")

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
        del self._inbox[: self._at]
        self._at = 0
        self._inbox += data
        self._dispatch()

    def _dispatch(self) -> None:
        until = self._loop.time() + TURN
        holding = self._queue.hold()
        try:
            while not self._disconnected and self._next():
                if self._loop.time() > until:
                    self._pause()
                    break
        except Framing as error:
            self._finalize(error)
        self._owner.caught_up()
        if holding:
            self._queue.flush()

    def _pause(self) -> None:
        self._loop.remove_reader(self._fd)

        def resume() -> None:
            if not self._disconnected:
                self._loop.add_reader(self._fd, self._message_reader)
                self._dispatch()

        self._loop.call_soon(resume)

    def _next(self) -> bool:
        """Take one message, or a piece of a refused one, from the inbox."""
        inbox, at = self._inbox, self._at
        there = len(inbox) - at
        if self._skip:
            size = min(self._skip, there)
            self._at += size
            self._skip -= size
            return size > 0
        if there < FIXED_HEADER:
            return False
        head, body = sizes(inbox, at)
        if head > MAX_HEADER:
            self._refuse(head + body)
            return True
        if there < head:
            return False
        header = parse_header(bytes(inbox[at : at + head]))
        if header is None or not self._wanted(header):
            self._refuse(head + body)
            return True
        if there < head + body:
            return False
        self._at += head + body
        last = self._at == len(inbox)
        self._deliver(Incoming(header, bytes(inbox[at + head : self._at]), last=last))
        return True

    def _refuse(self, size: int) -> None:
        self.refused += 1
        self._skip = size

    def _wanted(self, header: Header) -> bool:
        if header.kind in (Kind.RETURN, Kind.ERROR):
            return header.reply_serial in self._method_return_handlers
        return self._owner.wants(header)

    def _deliver(self, incoming: Incoming) -> None:
        if incoming.header.kind in (Kind.RETURN, Kind.ERROR):
            self._method_return_handlers.pop(incoming.header.reply_serial)(incoming, None)
            return
        try:
            self._owner.deliver(incoming)
        except Exception:
            _log.exception("a message from the bus was not handled")

    def expect(self, serial: int) -> asyncio.Future[Incoming | None]:
        """The answer to the call with this serial; None if the connection ended before."""
        reply: asyncio.Future[Incoming | None] = self._loop.create_future()

        def answered(answer: Incoming | None, _: Exception | None) -> None:
            if not reply.done():
                reply.set_result(answer)

        self._method_return_handlers[serial] = answered
        reply.add_done_callback(lambda _: self._method_return_handlers.pop(serial, None))
        return reply

    # -- writing

    def schedule_write(self, *_: object) -> None:
        """The library asks for it after its Hello; nothing waits in a queue of its own."""

    @property
    def backlog(self) -> int:
        """Bytes waiting to be sent."""
        return self._queue.backlog

    # -- the end

    def disconnect(self) -> None:
        self._finalize(None)

    def _finalize(self, err: Exception | None = None) -> None:
        if self._disconnected:
            return
        self.reason = err
        self._queue.close()
        super()._finalize(None)  # given no error, the library leaves none unretrieved
        self._stream.close()
        self._sock.close()
        self._owner.ended()
