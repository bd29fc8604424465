"""Chooses the backend, and makes sure that nobody else works on the device."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ..netlink import NetlinkError
from ..rtnetlink import Rtnetlink
from .backend import OURS, Backend
from .base import Device, DeviceError
from .kernel import Kernel
from .userspace import Userspace, is_installed
from .wireguard import WireGuardDevice, not_ours

_UCRED: Final = struct.Struct("=iII")  # struct ucred: process, user, group

_NO_KERNEL: Final = (
    "the kernel has no WireGuard (apt install linux-image-amd64, or modprobe wireguard)"
)
_NO_USERSPACE: Final = "wireguard-go or /dev/net/tun is not there (apt install wireguard-go)"


async def open_device(backend: str, name: str) -> Device:
    """The device *name*, not made yet, or as an earlier run left it.

    *backend* is "kernel", "userspace", or "auto": that of a device which is there, else the
    kernel if it can, else wireguard-go. Raises DeviceError if there is no way, or if a device
    of that name is somebody else's.
    """
    lock = _lock(name)
    thread = ThreadPoolExecutor(1, thread_name_prefix="device")
    try:
        route, chosen = await asyncio.get_running_loop().run_in_executor(
            thread, _choose, backend, name
        )
    except BaseException:
        thread.shutdown()
        lock.close()
        raise
    return WireGuardDevice(name, thread=thread, route=route, backend=chosen, lock=lock)


def _lock(name: str) -> socket.socket:
    """Held as long as we live: an abstract socket, of which a network namespace has but one.

    Anybody may take its name, so it only counts in the hands of root or of our own user.
    """
    address = f"\0bmx7-wg/{name}"
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(address)
        lock.listen()
    except OSError as error:
        if _listener(address) in (0, os.getuid()):
            lock.close()
            raise DeviceError(f"another process works on {name}") from error
    return lock


def _listener(address: str) -> int | None:
    """The user who listens on a socket, None if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as caller:
        try:
            caller.connect(address)
        except OSError:
            return None
        credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, user, _ = _UCRED.unpack(credentials)
        return int(user)


def _choose(backend: str, name: str) -> tuple[Rtnetlink, Backend]:
    route = Rtnetlink()
    try:
        link = route.link(name)
        if link is not None and (
            link.alias != OURS or link.kind not in (Kernel.link_kind, Userspace.link_kind)
        ):
            raise DeviceError(not_ours(link))
        if link is not None and backend == "auto":
            backend = Kernel.name if link.kind == Kernel.link_kind else Userspace.name
        chosen = _backend(backend, name, route)
        if link is not None and link.kind != chosen.link_kind:
            route.delete_link(link.index)  # ours, of the other backend; wireguard-go ends with it
    except OSError as error:
        route.close()
        raise DeviceError(f"{name}: {error.strerror or error}") from error
    except DeviceError:
        route.close()
        raise
    return route, chosen


def _backend(backend: str, name: str, route: Rtnetlink) -> Backend:
    missing = []
    if backend in ("auto", Kernel.name):
        try:
            return Kernel(route, name)
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            missing.append(_NO_KERNEL)
    if backend in ("auto", Userspace.name):
        if is_installed():
            return Userspace(route, name)
        missing.append(_NO_USERSPACE)
    raise DeviceError("; ".join(missing))
