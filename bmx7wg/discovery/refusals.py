"""Counts what was refused, by reason, and says so in the journal without flooding it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from .text import printable

_LINES: Final = 10  # log lines for each window
_WINDOW: Final = 60.0  # s

_log = logging.getLogger("bmx7wg.discovery")


class Refusals:
    """Counters by reason. The reasons are ours and few, so they can't grow."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._window = float("-inf")
        self._lines = 0

    def count(self, reason: str, about: str | bytes, now: float) -> None:
        """Count one; *about* names the culprit and may be anything."""
        self.counters[reason] += 1
        if now - self._window >= _WINDOW:
            self._window, self._lines = now, 0
        self._lines += 1
        if self._lines <= _LINES:
            _log.info("refused %s: %s", printable(about, 100), reason)
        elif self._lines == _LINES + 1:
            _log.info("refused more; not told for %d s", _WINDOW)
