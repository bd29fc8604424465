"""Telling systemd how the service does (sd_notify(3), systemd.service(5) Type=notify)."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from systemd import daemon


class Notifier:
    """Says each thing only when it changed; without systemd it says nothing."""

    def __init__(self) -> None:
        self._status = ""
        usec = os.environ.get("WATCHDOG_USEC", "")
        pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
        watched = usec.isdigit() and pid == str(os.getpid())
        #: Seconds within which `alive` must be called; None without a watchdog.
        self.watchdog: float | None = int(usec) / 2e6 if watched else None

    def ready(self) -> None:
        _notify("READY=1")

    def reloading(self) -> None:
        _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        _notify("STOPPING=1")

    def alive(self) -> None:
        if self.watchdog is not None:
            _notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        if text != self._status:
            self._status = text
            _notify(f"STATUS={text}")


def _notify(text: str) -> None:
    # Whoever listens may be gone; that is no reason to stop working.
    with suppress(OSError):
        daemon.notify(text)
