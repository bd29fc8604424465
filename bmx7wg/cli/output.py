"""How a command speaks: lines for people or documents for programs, and why it failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from .terminal import Terminal, printable

SCHEMA: Final = 1  # of the JSON; grows when a member is taken away or changes its meaning


class Status(IntEnum):
    """The exit statuses of bmx7-wg(1)."""

    OK = 0
    FAILED = 1  # refused, or a check failed
    USAGE = 2
    NO_SUCH_PEER = 3
    NOT_RUNNING = 4


class CommandError(Exception):
    """A command can't be done: one sentence, what to do about it, and the exit status."""

    status = Status.FAILED

    def __init__(self, message: str, hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints


class UsageError(CommandError):
    status = Status.USAGE


class NoSuchPeer(CommandError):
    status = Status.NO_SUCH_PEER


class NotRunning(CommandError):
    status = Status.NOT_RUNNING


@dataclass(frozen=True)
class Output:
    """Standard output, in the form that was asked for."""

    terminal: Terminal
    json: bool

    def line(self, text: str = "") -> None:
        """A line for people. What came from outside it must be `printable` already."""
        sys.stdout.write(text + "\n")

    def document(self, members: Mapping[str, Any], *, compact: bool = False) -> None:
        """A JSON document. ASCII only, so that no name can speak to a terminal."""
        document = {"schema": SCHEMA, **members}
        if compact:
            text = json.dumps(document, separators=(",", ":"))
        else:
            text = json.dumps(document, indent=2)
        sys.stdout.write(text + "\n")

    def flush(self) -> None:
        sys.stdout.flush()

    def error(self, error: CommandError) -> None:
        """Say on standard error why there is no answer; as JSON on standard output, too."""
        if self.json:
            members = {"status": int(error.status), "message": error.message}
            self.document({"error": {**members, "hints": error.hints}})
        sys.stderr.write(f"bmx7-wg: {printable(error.message)}\n")
        for hint in error.hints:
            sys.stderr.write(f"  {printable(hint)}\n")
