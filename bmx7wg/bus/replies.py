"""What calls have in common: reading the arguments, and telling of failures."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .connection import Connection
from .errors import FAILED, INVALID_ARGS, CallError
from .library import Incoming
from .wire import Header

_log = logging.getLogger(__name__)


def arguments(call: Incoming) -> list[Any]:
    """The arguments as plain values. Raises CallError."""
    try:
        return call.body
    except ValueError as error:
        raise CallError(INVALID_ARGS, f"{error}.") from None


@contextmanager
def failures_told(connection: Connection, call: Header, name: str) -> Iterator[None]:
    """Answer *call* with whatever is raised inside; a defect of ours is logged, not shown."""
    try:
        yield
    except CallError as error:
        connection.answer_error(call, error.name, error.text)
    except Exception:
        _log.exception("%s failed", name)
        text = "This is a defect of the service; its journal has the details."
        connection.answer_error(call, FAILED, text)
