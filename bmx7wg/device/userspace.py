"""wireguard-go's settings and peers, over its UAPI socket; runner.py has its process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ..core.operations import SetDevice
from ..core.planpeers import PeerOperation
from ..rtnetlink import Rtnetlink
from . import uapi
from .backend import Settings
from .runner import PROGRAM, START, STEP, Runner

_END: Final = 2.0  # s until it has ended with its link

_T = TypeVar("_T")


class Userspace:
    name = "userspace"
    link_kind = "tun"

    def __init__(self, route: Rtnetlink, device: str, runner: Runner) -> None:
        self._route = route
        self._device = device
        self._runner = runner
        self._reader = uapi.Reader()
        self._connection: uapi.Connection | None = None
        self._pulse: uapi.Connection | None = None  # idle: it ends when the process does

    def make(self) -> None:
        self._hang_up()
        self._runner.start()
        try:
            self._wait_until_it_listens()
        except OSError:
            self._hang_up()
            raise

    def read(self, index: int) -> Settings | None:
        try:
            return self._get()
        except TimeoutError:
            raise  # it is busy, not dead: a new one would know no session
        except OSError:
            return None

    def set_device(self, index: int, change: SetDevice) -> None:
        self._ask(lambda connection: connection.set(uapi.encode_device(change)))

    def set_peers(self, index: int, operations: Sequence[PeerOperation]) -> dict[bytes, str]:
        failures: dict[bytes, str] = {}
        for lines, inside in uapi.encode_peers(operations):
            try:
                self._ask(lambda connection: connection.set(lines))
            except uapi.RefusedError as error:
                # It stops at the first peer that it refuses: find it, do the others.
                if len(inside) == 1:
                    failures[inside[0].public_key] = error.strerror or "refused"
                else:
                    for operation in inside:
                        failures |= self.set_peers(index, [operation])
        return failures

    def remove(self, index: int) -> None:
        """Deleting the link ends wireguard-go; its socket goes too, whoever started it."""
        self._route.delete_link(index)
        self.abandon()

    def abandon(self) -> None:
        self._runner.end()
        if self._pulse is not None:
            self._pulse.wait_for_end(_END)
        self._hang_up()

    def close(self) -> None:
        self._hang_up()
        self._runner.close()

    def pulse(self) -> int | None:
        return None if self._pulse is None else os.dup(self._pulse.fileno())

    def _connect(self) -> uapi.Connection:
        if self._connection is None:
            connection = uapi.Connection(self._device)
            try:
                self._pulse = uapi.Connection(self._device)
            except OSError:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _wait_until_it_listens(self) -> None:
        """Until it has seen that the link is up: packets sent before are lost."""
        deadline = time.monotonic() + START
        while not self._listens():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{PROGRAM} does not begin to work on {self._device}")
            time.sleep(STEP)

    def _listens(self) -> bool:
        try:
            return self._get().listen_port != 0
        except (ConnectionError, FileNotFoundError):
            return False  # the socket was that of one that was killed and is not all gone yet

    def _get(self) -> Settings:
        return self._ask(lambda connection: self._reader.device(connection.get()))

    def _ask(self, question: Callable[[uapi.Connection], _T]) -> _T:
        connection = self._connect()
        try:
            return question(connection)
        except uapi.RefusedError:
            raise
        except Exception:
            self._hang_up()  # the rest of the answer would be taken for that of the next question
            raise

    def _hang_up(self) -> None:
        for connection in (self._connection, self._pulse):
            if connection is not None:
                connection.close()
        self._connection = self._pulse = None
