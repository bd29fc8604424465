"""``bmx7-wg``: the command line. It talks to the bus and to nothing else (bmx7-wg(1)).

A command's modules are imported when it runs: help and a mistyped verb wait for no message bus.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from .arguments import parser
from .output import CommandError, Output
from .terminal import Terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in *argv* (by default the process's); returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not every terminal has every character
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _die_of(signal.SIGINT)
    except BrokenPipeError:
        return _die_of(signal.SIGPIPE)


def _die_of(number: signal.Signals) -> int:
    """End as the signal would have ended us, so that a shell knows: it stops its loop, too."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = parser().parse_args(argv)
    except SystemExit as end:  # argparse has said why
        return int(end.code or 0)
    output = Output(Terminal.of(sys.stdout), "json" in args)
    try:
        return int(args.run(args, output))
    except CommandError as error:
        output.error(error)
        return error.status
