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
CATEGORY: Final = "CATEGORY"  # discovery, peers, device, bus, service
MESSAGE_ID: Final = "MESSAGE_ID"

#: Messages that an administrator may look for: journalctl MESSAGE_ID=…
PEER_CHANGED: Final = "8f4e1c4b7f5c4c0e9a51d6f0c1b2a377"
PROBLEM_APPEARED: Final = "3d2b7a90c5f14d6fb7a9e1f4528c6e10"
PROBLEM_SOLVED: Final = "b6c0d8e5a2f34f7c8e3d9b1a7c5f4e21"
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


def set_up(level: int = logging.INFO) -> None:
    """Send everything that is logged below "bmx7wg" to the journal or standard error."""
    handler: logging.Handler
    if os.environ.get("JOURNAL_STREAM"):
        handler = _journal_handler()
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(f"{IDENTIFIER}: %(levelname)s: %(message)s"))
    handler.addFilter(RateLimit())
    root = logging.getLogger("bmx7wg")
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False
    logging.raiseExceptions = False
