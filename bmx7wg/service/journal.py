"""Logging: to the journal with fields when systemd runs the service, else to standard error.

All field names and message ids are here. Records carry fields as ``extra={"fields": {...}}``.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Final

IDENTIFIER: Final = "bmx7-wgd"

#: Fields of ours in the journal: the node (56 hex digits), a peer of it, its new state.
NODE_ID: Final = "NODE_ID"
PEER: Final = "PEER"
STATE: Final = "PEER_STATE"
NETWORK: Final = "NETWORK"  # a prefix
CATEGORY: Final = "CATEGORY"  # discovery, peers, networks, device, bus, service
MESSAGE_ID: Final = "MESSAGE_ID"

#: Messages that an administrator may look for: journalctl MESSAGE_ID=…
PEER_CHANGED: Final = "8f4e1c4b7f5c4c0e9a51d6f0c1b2a377"
NETWORK_CHANGED: Final = "5a0e6d1f93c84b7fa2c7d3e8614b90f5"
PROBLEM_APPEARED: Final = "3d2b7a90c5f14d6fb7a9e1f4528c6e10"
PROBLEM_SOLVED: Final = "b6c0d8e5a2f34f7c8e3d9b1a7c5f4e21"
DEVICE_REPAIRED: Final = "4b1f6a0e93d84c1f9d2e75c8a06b3f5d"
RESUMED: Final = "a0c92d6e7f1b4c7d8b35e4190f6d27a8"
CONFIGURATION_REFUSED: Final = "e57c1f3a9b8d4a6e8c2f0d5b4a39c712"

_RATE: Final = 20.0  # lines a second about what others did; a mesh of 300 may come at once
_BURST: Final = 600.0


class RateLimit(logging.Filter):
    """Bounds the lines that others can make us write; says how many it kept back."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens, self._last, self._dropped = _BURST, time.monotonic(), 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        self._tokens = min(_BURST, self._tokens + (now - self._last) * _RATE)
        self._last = now
        if self._tokens < 1.0:
            self._dropped += 1
            return False
        self._tokens -= 1.0
        if self._dropped:
            record.msg = f"{record.msg} ({self._dropped} messages before this one not shown)"
            self._dropped = 0
        return True


def fields(message_id: str, node_id: str = "", **values: str) -> dict[str, object]:
    """The ``extra`` of a logging call: a message id and fields of this module's names."""
    node = {NODE_ID: node_id} if node_id else {}
    return {"fields": {MESSAGE_ID: message_id, **node, **values}}


def _journal_handler() -> logging.Handler:
    from systemd import journal  # 28 ms, and not needed elsewhere

    class Handler(journal.JournalHandler):  # type: ignore[misc]
        def emit(self, record: logging.LogRecord) -> None:
            try:
                journal.send(
                    self.format(record),
                    PRIORITY=str(self.map_priority(record.levelno)),
                    SYSLOG_IDENTIFIER=IDENTIFIER,
                    **{CATEGORY: record.name.rpartition(".")[2]},
                    **getattr(record, "fields", {}),
                )
            except OSError:
                self.handleError(record)

    return Handler()


#: The words of org.freedesktop.LogControl1, and the levels that we tell apart.
LEVELS: Final = {
    "emerg": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "crit": logging.CRITICAL,
    "err": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_WORDS: Final = {
    logging.CRITICAL: "crit",
    logging.ERROR: "err",
    logging.WARNING: "warning",
    logging.INFO: "info",
    logging.DEBUG: "debug",
}
TARGETS: Final = ("journal", "console", "null")

_root = logging.getLogger("bmx7wg")


def set_up() -> None:
    """Send everything that is logged below "bmx7wg" to the journal or standard error."""
    _root.propagate = False
    logging.raiseExceptions = False
    set_level("info")
    set_target("journal" if os.environ.get("JOURNAL_STREAM") else "console")


def level() -> str:
    """The least level that is logged, as a word of LogControl1."""
    return _WORDS[_root.level]


def set_level(word: str) -> None:
    """ValueError for a word that is none of `LEVELS`."""
    if word not in LEVELS:
        raise ValueError(f"a log level is one of {', '.join(LEVELS)}")
    _root.setLevel(LEVELS[word])


def target() -> str:
    return _target


def set_target(word: str) -> None:
    """ValueError for a word that is none of `TARGETS`."""
    global _target
    handler: logging.Handler
    if word == "journal":
        handler = _journal_handler()
    elif word == "console":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(f"{IDENTIFIER}: %(levelname)s: %(message)s"))
    elif word == "null":
        handler = logging.NullHandler()
    else:
        raise ValueError(f"a log target is one of {', '.join(TARGETS)}")
    handler.addFilter(RateLimit())
    _root.handlers[:] = [handler]
    _target = word


_target = "null"
