"""Whether a sleep of the machine is noticed, and how much of it."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bmx7wg.service import clock
from bmx7wg.service.clock import Clock

Run = Callable[[Awaitable[None]], None]


def timers() -> list[str]:
    """The descriptors of this process that are such timers, as proc(5) describes them."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if "timerfd" in os.readlink(entry):
                found.append(Path(f"/proc/self/fdinfo/{entry.name}").read_text())
        except FileNotFoundError:
            pass  # that of the listing
    return found


def test_only_sleep_counts_and_only_once() -> None:
    asleep = 5.0
    watched = Clock(lambda: asleep)
    assert watched.slept() == 0.0
    asleep += 0.5
    assert watched.slept() == 0.0, "two clocks are not read at the same moment"
    asleep += 3600.0
    assert watched.slept() == 3600.5 and watched.slept() == 0.0


def test_the_real_clocks_agree_while_nobody_sleeps() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    assert abs(clock.ahead() - before) < 0.5
    assert Clock().slept() == 0.0


def test_the_timer_is_one_that_a_sleep_ends(run_async: Run) -> None:
    async def story() -> None:
        assert timers() == []
        watched = Clock()
        watched.watch(lambda: None)
        (timer,) = timers()
        # CLOCK_REALTIME, TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET
        assert "clockid: 0" in timer and "settime flags: 03" in timer
        watched.close()
        watched.close()
        assert timers() == []

    run_async(story())


def test_without_such_a_timer_it_works_all_the_same(
    run_async: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        import ctypes

        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
        watched = Clock()
        watched.watch(lambda: None)
        assert timers() == [] and watched.slept() == 0.0
        watched.close()

    run_async(story())
