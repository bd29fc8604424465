"""A steady stream of datagrams between two nodes: what of it is lost."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Final

from bmx7wg.lab.node import Node
from bmx7wg.lab.waiting import wait_until

PERIOD: Final = 0.001  # s
_PORT: Final = 7777
_NUMBER: Final = struct.Struct("!Q")


class Stream:
    """1,000 datagrams a second from one node's mesh address to another's, while it is open."""

    def __init__(self, sender: Node, receiver: Node) -> None:
        destination = receiver.mesh_address()
        assert destination is not None
        self._to = str(destination), _PORT
        self._out = sender.namespace.in_network(_socket)
        self._in = receiver.namespace.in_network(_socket)
        self._in.bind(("::", _PORT))
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._stop = threading.Event()
        self._got: set[int] = set()
        self.sent = 0
        self._threads = [threading.Thread(target=t) for t in (self._send, self._receive)]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        self.more(100)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._out.close()
        self._in.close()

    def more(self, count: int) -> None:
        """Wait until *count* more have arrived."""
        enough = len(self._got) + count
        wait_until(lambda: len(self._got) >= enough, f"{count} more datagrams", timeout=60)

    def lost(self) -> int:
        """How many of those sent until now did not and will not arrive."""
        sent = self.sent
        wait_until(lambda: max(self._got, default=0) > sent, "the last datagram", timeout=60)
        return sent - sum(1 for number in self._got if number < sent)

    def _send(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                self._out.sendto(_NUMBER.pack(self.sent), self._to)
            except OSError:
                pass  # no device at the moment: lost as well
            self.sent += 1
            due += PERIOD
            time.sleep(max(0.0, due - time.monotonic()))

    def _receive(self) -> None:
        self._in.settimeout(0.1)
        while not self._stop.is_set():
            try:
                (number,) = _NUMBER.unpack(self._in.recv(64))
            except TimeoutError:
                continue
            self._got.add(number)


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
