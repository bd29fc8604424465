"""What calls have in common: arguments, and how failures are told."""

from __future__ import annotations

import logging
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


def answer_failure(connection: Connection, call: Header, error: Exception) -> None:
    """Answer *call* with what was raised; a defect of ours is logged, not shown."""
    if isinstance(error, CallError):
        connection.answer_error(call, error.name, error.text)
        return
    _log.error("%s failed", call.member, exc_info=error)
    text = "This is a defect of the service; its journal has the details."
    connection.answer_error(call, FAILED, text)
