"""wireguard-go, on a TUN that outlives it.

The link is made here and is persistent, so link, addresses and routes stay when wireguard-go
dies; the next one is given the same link. wireguard-go runs in a session of its own and does not
end with us: packets flow on while the service restarts, and the next one adopts it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from ..core.model import PeerStatistics
from ..core.plan import SetDevice
from ..core.planpeers import PeerOperation
from ..rtnetlink import Link, Rtnetlink
from . import uapi
from .backend import OURS, Settings

PROGRAM: Final = "wireguard-go"
CLONE_DEVICE: Final = "/dev/net/tun"

# linux/if_tun.h
_TUNSETIFF: Final = 0x400454CA
_TUNSETPERSIST: Final = 0x400454CB
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_IFREQ: Final = struct.Struct("=16sH22x")

_VERSION: Final = re.compile(r"wireguard-go v\d+\.\d+\.(\d{8})")
_VNET_HEADERS_SINCE: Final = 20230223  # before, packets have the header that IFF_NO_PI drops
_START: Final = 5.0  # s until wireguard-go works on the link; 15 ms when nothing else runs
_STEP: Final = 0.002  # s
_END: Final = 2.0  # s until it has ended; then it is killed, if it is our child

_PASSED_ON: Final = ("PATH", "LOG_LEVEL")  # of our environment

_T = TypeVar("_T")


def is_installed() -> bool:
    return shutil.which(PROGRAM) is not None and os.path.exists(CLONE_DEVICE)


class Userspace:
    name = "userspace"
    link_kind = "tun"

    def __init__(self, route: Rtnetlink, device: str) -> None:
        self._route = route
        self._device = device
        self._tun = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: uapi.Connection | None = None
        self._pulse: uapi.Connection | None = None  # idle: it ends when the process does

    def make(self) -> None:
        self._hang_up()
        self._reap()
        link = self._route.link(self._device)
        if link is None or self._tun == -1:
            link = self._open_link()
        # It opens its port when the link is up, which it is to see at its start.
        self._route.change_link(link.index, up=True)
        self._spawn()
        try:
            self._connect()
            self._wait_until_it_listens()
        except OSError:
            self._hang_up()
            self._reap()
            raise

    def read(self, index: int) -> Settings | None:
        try:
            return uapi.decode_device(self._ask(uapi.Connection.get))
        except TimeoutError:
            raise  # it is busy, not dead: a new one would know no session
        except OSError:
            return None

    def statistics(self, index: int) -> Mapping[bytes, PeerStatistics]:
        return uapi.decode_statistics(self._ask(uapi.Connection.get))

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
        self._let_go()
        _unlink(uapi.socket_path(self._device))
        if self._pulse is not None:
            self._pulse.wait_for_end(_END)
        self._hang_up()
        self._reap()

    def close(self) -> None:
        self._hang_up()
        self._let_go()
        if self._process is not None:
            self._process.returncode = 0  # it is not waited for any more: it works on
            self._process = None

    def pulse(self) -> int | None:
        return None if self._pulse is None else os.dup(self._pulse.fileno())

    # -- the process ---------------------------------------------------------------------------

    def _open_link(self) -> Link:
        """Open the TUN, which is made if need be; persistent and marked as ours."""
        self._let_go()
        kind = _IFF_TUN
        if _version() >= _VNET_HEADERS_SINCE:
            kind |= _IFF_NO_PI | _IFF_VNET_HDR
        tun = os.open(CLONE_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._attach(tun, kind)
            link = self._route.link(self._device)
            if link is None:
                raise OSError(f"{self._device} went away while it was made")
            self._route.change_link(link.index, alias=OURS, no_link_local=True)
            fcntl.ioctl(tun, _TUNSETPERSIST, 1)
        except OSError:
            os.close(tun)
            raise
        self._tun = tun
        return link

    def _attach(self, tun: int, kind: int) -> None:
        """A killed wireguard-go may hold the TUN a little longer than the socket that told us."""
        deadline = time.monotonic() + _END
        while True:
            try:
                fcntl.ioctl(tun, _TUNSETIFF, _IFREQ.pack(self._device.encode(), kind))
                return
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
            time.sleep(_STEP)

    def _let_go(self) -> None:
        if self._tun != -1:
            os.close(self._tun)
            self._tun = -1

    def _spawn(self) -> None:
        listener = _listen(uapi.socket_path(self._device))
        try:
            # Errors of single packets go to its standard output, by the thousand when the
            # network is away; what ends it goes to standard error, and so to the journal.
            self._process = subprocess.Popen(
                [PROGRAM, self._device],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(self._tun, listener.fileno()),
                start_new_session=True,
                env={
                    **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                    "WG_TUN_FD": str(self._tun),
                    "WG_UAPI_FD": str(listener.fileno()),
                    "WG_PROCESS_FOREGROUND": "1",
                },
            )
        finally:
            listener.close()

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
        deadline = time.monotonic() + _START
        while uapi.decode_device(self._ask(uapi.Connection.get)).listen_port == 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{PROGRAM} does not begin to work on {self._device}")
            time.sleep(_STEP)

    def _ask(self, question: Callable[[uapi.Connection], _T]) -> _T:
        connection = self._connect()
        try:
            return question(connection)
        except uapi.RefusedError:
            raise
        except OSError:
            self._hang_up()  # a late answer would be taken for that of the next question
            raise

    def _hang_up(self) -> None:
        for connection in (self._connection, self._pulse):
            if connection is not None:
                connection.close()
        self._connection = self._pulse = None

    def _reap(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _version() -> int:
    """The date in the version, as a number; that of a build without one counts as new."""
    answer = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True)
    found = _VERSION.search(answer.stdout)
    return int(found[1]) if found else _VNET_HEADERS_SINCE


def _listen(path: str) -> socket.socket:
    """The socket that wireguard-go will accept from; what a dead one left is cleared away."""
    os.makedirs(uapi.DIRECTORY, mode=0o755, exist_ok=True)
    if uapi.answers(path):
        raise OSError(f"another {PROGRAM} listens on {path}, perhaps in another namespace")
    _unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(listener.fileno(), 0o600)  # what bind makes has the mode of the socket
        listener.bind(path)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
