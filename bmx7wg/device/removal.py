"""Takes away what is ours on this machine, without knowing what was done before."""

from __future__ import annotations

from typing import Final

from ..rtnetlink import Link, Rtnetlink
from . import forwarding
from .backend import Backend, is_ours
from .base import DeviceError
from .kernel import Kernel
from .lock import is_taken
from .routes import Routes
from .runner import Spawned, Unit
from .userspace import Userspace

_KINDS: Final = (Kernel.link_kind, Userspace.link_kind)


def remove_all(*, units: bool) -> list[str]:
    """Remove all devices, routes and rules with our mark; the devices' names.

    *units* says that systemd runs wireguard-go. DeviceError if something stays: nothing is removed
    while a service works on a device.
    """
    try:
        with Rtnetlink() as route:
            links = [link for link in route.links() if is_ours(link) and link.kind in _KINDS]
            for link in links:
                if is_taken(link.name):
                    raise DeviceError(f"{link.name}: a service works on it; stop that first")
            for link in links:
                backend = _backend(route, link, units)
                backend.remove(link.index)
                backend.close()
            Routes(route).remove()
            if units:
                forwarding.Unit(route).switch(False)
    except OSError as error:
        raise DeviceError(error.strerror or str(error)) from error
    return [link.name for link in links]


def _backend(route: Rtnetlink, link: Link, units: bool) -> Backend:
    if link.kind == Kernel.link_kind:
        return Kernel(route, link.name)
    runner: type[Unit] | type[Spawned] = Unit if units else Spawned
    return Userspace(route, link.name, runner(route, link.name))
