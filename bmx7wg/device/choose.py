"""Chooses the backend, and makes sure that nobody else works on the device."""

from __future__ import annotations

import asyncio
import errno
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ..netlink import NetlinkError
from ..rtnetlink import Rtnetlink
from . import forwarding
from .backend import Backend, is_ours
from .base import Device, DeviceError
from .forwarding import Forwarding
from .kernel import Kernel
from .lock import Lock
from .runner import Spawned, Unit
from .userspace import Userspace
from .wireguard import WireGuardDevice, not_ours

_NO_KERNEL: Final = (
    "the kernel has no WireGuard (apt install linux-image-amd64, or modprobe wireguard)"
)
_NO_USERSPACE: Final = "wireguard-go or /dev/net/tun is not there (apt install wireguard-go)"


async def open_device(backend: str, name: str, *, units: bool = False) -> Device:
    """The device *name*, not made yet, or as an earlier run left it.

    *backend* is "kernel", "userspace", or "auto": that of a device which is there, else the
    kernel if it can, else wireguard-go. With *units* systemd runs that and switches forwarding.
    Raises DeviceError if there is no way, or if a device of that name is somebody else's.
    """
    lock = Lock(name)
    thread = ThreadPoolExecutor(1, thread_name_prefix="device")
    try:
        route, chosen = await asyncio.get_running_loop().run_in_executor(
            thread, _choose, backend, name, Unit if units else Spawned
        )
    except BaseException:
        thread.shutdown()
        lock.close()
        raise
    return WireGuardDevice(
        name,
        thread=thread,
        route=route,
        backend=chosen,
        forwarding=_forwarding(route, units),
        lock=lock,
    )


def _forwarding(route: Rtnetlink, units: bool) -> Forwarding:
    if units:
        return forwarding.Unit(route)
    return forwarding.Direct()


def _choose(
    backend: str, name: str, runner: type[Unit] | type[Spawned]
) -> tuple[Rtnetlink, Backend]:
    route = Rtnetlink()
    try:
        link = route.link(name)
        if link is not None and (
            not is_ours(link) or link.kind not in (Kernel.link_kind, Userspace.link_kind)
        ):
            raise DeviceError(not_ours(link))
        if link is not None and backend == "auto":
            backend = Kernel.name if link.kind == Kernel.link_kind else Userspace.name
        chosen = _backend(backend, name, route, runner)
        if link is not None and link.kind != chosen.link_kind:
            route.delete_link(link.index)  # ours, of the other backend; wireguard-go ends with it
    except OSError as error:
        route.close()
        raise DeviceError(f"{name}: {error.strerror or error}") from error
    except DeviceError:
        route.close()
        raise
    return route, chosen


def _backend(
    backend: str, name: str, route: Rtnetlink, runner: type[Unit] | type[Spawned]
) -> Backend:
    missing = []
    if backend in ("auto", Kernel.name):
        try:
            return Kernel(route, name)
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            missing.append(_NO_KERNEL)
    if backend in ("auto", Userspace.name):
        if runner.is_possible():
            return Userspace(route, name, runner(route, name))
        missing.append(_NO_USERSPACE)
    raise DeviceError("; ".join(missing))
