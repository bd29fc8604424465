"""Waiting for a condition, up to a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class LabError(Exception):
    """Something in the lab did not hold; the text says what."""


def wait_until(
    condition: Callable[[], T], what: str, *, timeout: float, interval: float = 0.05
) -> T:
    """Call *condition* every *interval* seconds until its result is true, and return that.

    LabError("no *what* after … s") when it isn't within *timeout* seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise LabError(f"no {what} after {timeout:g} s")
        time.sleep(interval)
