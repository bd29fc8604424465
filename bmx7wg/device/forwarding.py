"""Forwarding between the device and other links: on where that is asked for, else as it was.

It is of the whole machine, not of a link: what was on before stays on, and what was switched on is
switched off again, for each IP version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from ..rtnetlink import Rtnetlink
from . import units

#: The unit that switches it, for the service's own sandbox keeps /proc/sys away from it.
UNIT: Final = "bmx7-wg-forwarding.service"
#: There while the unit is active: its RuntimeDirectory, with what it changed.
MEMORY: Final = Path("/run/bmx7-wg-forwarding")

_SWITCHES: Final = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")


class Forwarding(Protocol):
    def switch(self, on: bool) -> None:
        """On, also if somebody else switched it off since, or back to what it was.

        Said twice, it does nothing. OSError if it can't be done.
        """


class Unit:
    """By a unit of systemd, so what it was is known to whoever comes after us."""

    def __init__(self, route: Rtnetlink) -> None:
        self._route = route

    def switch(self, on: bool) -> None:
        if on != MEMORY.is_dir():
            (units.start if on else units.stop)(UNIT)
        elif on and self._route.forwarding() != {4, 6}:
            units.reload(UNIT)


class Direct:
    """By writing to /proc/sys: without systemd, in the lab and in tests.

    What it was is known to this process alone: killed, it leaves forwarding on.
    """

    def __init__(self) -> None:
        self._changed: list[Path] = []

    def switch(self, on: bool) -> None:
        if not on:
            while self._changed:
                self._changed.pop().write_text("0")
            return
        for path in map(Path, _SWITCHES):
            if path.exists() and path.read_text().strip() == "0":
                path.write_text("1")
                if path not in self._changed:
                    self._changed.append(path)
