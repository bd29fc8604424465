"""``bmx7-wg``: the command line. It talks to the bus and to nothing else (bmx7-wg(1)).

A command's modules are imported when it runs: help and a mistyped verb wait for no message bus.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path

from .. import __version__
from .output import CommandError, Output, Status
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


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    # Suppressed: a verb's own default must not undo a --json before the verb.
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="answer in JSON"
    )
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument(
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="where the configuration is (default: /etc/bmx7-wg)",
    )
    top = argparse.ArgumentParser(
        prog="bmx7-wg",
        description="Look at this node's WireGuard mesh. Without a command: status.",
        epilog="The manual page bmx7-wg(1) has it all.",
        parents=[common],
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"bmx7-wg {__version__}")
    top.set_defaults(run=_status)
    verbs = top.add_subparsers(metavar="COMMAND", title="commands")
    add = partial(verbs.add_parser, parents=[common], allow_abbrev=False)

    status = add("status", help="this node, its device, its peers")
    status.set_defaults(run=_status)

    peers = add("peers", help="a table of the peers")
    peers.add_argument(
        "--state",
        action="append",
        default=[],
        metavar="STATE",
        help="only peers in this state (connected, idle, lost, …); may be given several times",
    )
    peers.set_defaults(run=_peers)

    peer = add("peer", help="everything about one peer")
    peer.add_argument(
        "node", metavar="NODE", help="name, beginning of the node id, mesh address or public key"
    )
    peer.set_defaults(run=_peer)

    monitor = add("monitor", help="changes as they happen")
    monitor.set_defaults(run=_monitor)

    doctor = add("doctor", parents=[common, files], help="what is wrong and what to do about it")
    doctor.set_defaults(run=_doctor)

    config = add("config", parents=[], help="the configuration, without the service")
    what = config.add_subparsers(metavar="check|show", required=True)
    add = partial(what.add_parser, parents=[common, files], allow_abbrev=False)
    check = add("check", help="is it valid?")
    check.set_defaults(run=_config_check)
    show = add("show", help="every value and where it comes from")
    show.set_defaults(run=_config_show)
    return top


def _status(args: argparse.Namespace, output: Output) -> Status:
    from .session import snapshot
    from .status import show_status

    return show_status(snapshot(), output)


def _peers(args: argparse.Namespace, output: Output) -> Status:
    from .peers import show_peers
    from .session import snapshot

    return show_peers(snapshot(), output, states=args.state)


def _peer(args: argparse.Namespace, output: Output) -> Status:
    from .peers import show_peer
    from .session import snapshot

    return show_peer(snapshot(), output, args.node)


def _monitor(args: argparse.Namespace, output: Output) -> Status:
    from .monitor import monitor

    return monitor(output)


def _doctor(args: argparse.Namespace, output: Output) -> Status:
    from .doctor import examine
    from .session import snapshot

    try:
        return examine(output, _directory(args), snapshot())
    except CommandError as error:
        return examine(output, _directory(args), error)


def _directory(args: argparse.Namespace) -> Path:
    from ..configfiles import DEFAULT_DIRECTORY

    directory: Path = args.config_dir or DEFAULT_DIRECTORY
    return directory


def _config_check(args: argparse.Namespace, output: Output) -> Status:
    from .configcmd import check

    return check(_directory(args), output)


def _config_show(args: argparse.Namespace, output: Output) -> Status:
    from .configcmd import show

    return show(_directory(args), output)
