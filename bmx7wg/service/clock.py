"""Notices that the machine was asleep: the monotonic clock, which everything here goes by, stood
still meanwhile, and the sessions of WireGuard are over.

A timer far in the future that ends when the clock is set (timerfd_create(2)) ends at a resume as
well; it wakes the loop, without any polling. What then counts is how far boot time has gone ahead
of monotonic time. A clock that was merely set changes nothing here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import time
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger("bmx7wg.service")

# linux/timerfd.h
_TFD_TIMER_ABSTIME: Final = 1
_TFD_TIMER_CANCEL_ON_SET: Final = 2
_NEVER: Final = struct.pack("=4q", 0, 0, 1 << 40, 0)  # struct itimerspec: interval, value; s, ns

_LEAST: Final = 1.0  # s; less is how long reading two clocks may take on a busy machine


def ahead() -> float:
    """How far boot time is ahead of monotonic time: the seconds asleep since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


class Clock:
    """*asleep* tells the seconds that the machine was ever asleep."""

    def __init__(self, asleep: Callable[[], float] = ahead) -> None:
        self._asleep = asleep
        self._before = asleep()
        self._timer = -1
        self._libc: Any = None

    def slept(self) -> float:
        """How many seconds the machine was asleep since the last call."""
        now = self._asleep()
        if now - self._before < _LEAST:
            return 0.0
        slept, self._before = now - self._before, now
        return slept

    def watch(self, changed: Callable[[], None]) -> None:
        """Call *changed* on the running loop after each sleep, and when the clock is set."""
        try:
            import ctypes  # 6 ms, and not needed elsewhere

            self._libc = ctypes.CDLL(None, use_errno=True)
            self._timer = self._libc.timerfd_create(
                time.CLOCK_REALTIME, os.O_CLOEXEC | os.O_NONBLOCK
            )
            self._arm()
        except (ImportError, OSError, MemoryError, AttributeError) as error:
            # A sleep is then noticed at the next turn of the loop.
            log.info("not told when the machine wakes up: %s", error)
            self.close()
            return

        def ended() -> None:
            try:
                os.read(self._timer, 8)
            except OSError:
                pass  # ECANCELED: the clock was set
            self._arm()
            changed()

        asyncio.get_running_loop().add_reader(self._timer, ended)

    def close(self) -> None:
        if self._timer != -1:
            asyncio.get_running_loop().remove_reader(self._timer)
            os.close(self._timer)
            self._timer = -1

    def _arm(self) -> None:
        flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
        if self._timer == -1 or self._libc.timerfd_settime(self._timer, flags, _NEVER, None):
            raise OSError("the kernel has no such timer")
