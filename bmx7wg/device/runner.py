"""Who runs wireguard-go: systemd in a unit of its own, or we ourselves.

The link is a persistent TUN, so link, addresses and routes stay when wireguard-go dies; the next
one works on the same link. Neither ends with us: packets flow on while the service restarts.
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
from contextlib import suppress
from typing import Final, Protocol

from ..rtnetlink import Rtnetlink
from . import uapi, units
from .backend import OURS

PROGRAM: Final = "wireguard-go"
CLONE_DEVICE: Final = "/dev/net/tun"
START: Final = 5.0  # s until wireguard-go works on the link; 15 ms when nothing else runs
STEP: Final = 0.002  # s

# linux/if_tun.h
_TUNSETIFF: Final = 0x400454CA
_TUNSETPERSIST: Final = 0x400454CB
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_IFREQ: Final = struct.Struct("=16sH22x")

_VERSION: Final = re.compile(r"wireguard-go v\d+\.\d+\.(\d{8})")
_VNET_HEADERS_SINCE: Final = 20230223  # before, packets have the header that IFF_NO_PI drops
_AGAIN: Final = 0.3  # s until its unit has replaced one that was killed; 10 ms
_END: Final = 2.0  # s until it has ended; then it is killed, if it is our child

_PASSED_ON: Final = ("PATH", "LOG_LEVEL")  # of our environment


class Runner(Protocol):
    """The wireguard-go of one device. All calls block; OSError is what stood in the way."""

    def start(self) -> None:
        """Start it on the link, which is made if need be and set up; its socket answers then."""

    def end(self) -> None:
        """See that it ends, and leave nothing of it; the link is gone already."""

    def close(self) -> None:
        """Let go; it works on."""


class Unit:
    """By systemd, which makes the TUN as well (systemd/bmx7-wg-userspace@.service).

    So the service needs neither /dev/net/tun nor what wireguard-go needs.
    """

    def __init__(self, route: Rtnetlink, device: str) -> None:
        self._route = route
        self._device = device
        self._unit = units.instance(units.WIREGUARD_GO, device)

    @staticmethod
    def is_possible() -> bool:
        return shutil.which(PROGRAM) is not None

    def start(self) -> None:
        if self._route.link(self._device) is None:
            units.restart(self._unit)  # the one before may not have ended yet
        else:
            units.start(self._unit)
            if not self._answers(_AGAIN):
                units.restart(self._unit)
        if not self._answers(START):
            raise OSError(f"{self._unit} runs, but does not listen")
        _set_up(self._route, self._device)

    def _answers(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError):
                uapi.Connection(self._device).close()
                return True
            time.sleep(STEP)
        return False

    def end(self) -> None:
        with suppress(units.UnitError):  # with its link or its namespace gone, it ends anyway
            units.stop(self._unit)

    def close(self) -> None:
        pass


class Spawned:
    """As a child, in a session of its own: without systemd, in the lab and in tests.

    The TUN is held open here as well, so that a wireguard-go that is killed is replaced sooner.
    """

    def __init__(self, route: Rtnetlink, device: str) -> None:
        self._route = route
        self._device = device
        self._tun = -1
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def is_possible() -> bool:
        return shutil.which(PROGRAM) is not None and os.path.exists(CLONE_DEVICE)

    def start(self) -> None:
        self._reap()
        if self._tun == -1 or self._route.link(self._device) is None:
            self._open_link()
        # It opens its port when the link is up, which it is to see at its start.
        _set_up(self._route, self._device)
        self._spawn()

    def end(self) -> None:
        self._let_go()
        _unlink(uapi.socket_path(self._device))  # it ends without, too
        self._reap()

    def close(self) -> None:
        self._let_go()
        if self._process is not None:
            self._process.returncode = 0  # it is not waited for any more: it works on
            self._process = None

    def _open_link(self) -> None:
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
            time.sleep(STEP)

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

    def _reap(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _set_up(route: Rtnetlink, device: str) -> None:
    link = route.link(device)
    if link is None:
        raise OSError(f"{device} went away while it was made")
    route.change_link(link.index, up=True)


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
    with suppress(FileNotFoundError):
        os.unlink(path)
