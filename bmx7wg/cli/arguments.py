"""The arguments of ``bmx7-wg``; its help and the completion of the shells are made of them.

A metavar says what an argument is: the shells complete a NODE, STATE, LEVEL, FILE or DIR.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Final

from .. import __version__
from . import commands

SHELLS: Final = ("bash", "zsh", "fish")
#: Those of org.freedesktop.LogControl1, from syslog(3).
LEVELS: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

_MAX_KEEPALIVE: Final = 65535  # s; WireGuard has 16 bits for it


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    # Suppressed: a verb's own default must not undo a --json before the verb.
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="answer in JSON"
    )
    top = argparse.ArgumentParser(
        prog="bmx7-wg",
        description="Look at this node's WireGuard mesh, and change it. Without a command: status.",
        epilog="The manual page bmx7-wg(1) has it all.",
        parents=[common],
        allow_abbrev=False,
        formatter_class=_Help,
    )
    top.add_argument("--version", action="version", version=f"bmx7-wg {__version__}")
    top.set_defaults(run=commands.status)
    verbs = top.add_subparsers(metavar="COMMAND", title="commands")
    add = partial(verbs.add_parser, parents=[common], allow_abbrev=False)

    add("status", help="this node, its device, its peers").set_defaults(run=commands.status)

    peers = add("peers", help="a table of the peers")
    peers.add_argument(
        "--state",
        action="append",
        default=[],
        metavar="STATE",
        help="only peers in this state (connected, idle, lost, …); may be given several times",
    )
    peers.set_defaults(run=commands.peers)

    about_a_node = argparse.ArgumentParser(add_help=False)
    about_a_node.add_argument(
        "node", metavar="NODE", help="name, beginning of the node id, mesh address or public key"
    )
    add_for_node = partial(verbs.add_parser, parents=[common, about_a_node], allow_abbrev=False)
    add_for_node("peer", help="everything about one peer").set_defaults(run=commands.peer)
    add("monitor", help="changes as they happen").set_defaults(run=commands.monitor)

    _peer_options(add("add", help="add a peer by hand"))
    for name, run, text in (
        ("remove", commands.remove, "remove a peer that was added"),
        ("block", commands.block, "keep a node out"),
        ("unblock", commands.unblock, "let a node in again"),
        ("probe", commands.probe, "the round trip to a peer"),
    ):
        add_for_node(name, help=text).set_defaults(run=run)

    rotate_key = add("rotate-key", help="change to a new WireGuard key")
    rotate_key.set_defaults(run=commands.rotate_key)
    add("reload", help="read the configuration anew").set_defaults(run=commands.reload)
    sync = add("sync", help="read the source of peers and the device anew")
    sync.set_defaults(run=commands.sync)

    log_level = add("log-level", help="how much the service writes to the journal")
    log_level.add_argument(
        "level", metavar="LEVEL", nargs="?", choices=LEVELS, help=f"{', '.join(LEVELS)}"
    )
    log_level.set_defaults(run=commands.log_level)

    files = argparse.ArgumentParser(add_help=False)
    files.add_argument(
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="where the configuration is (default: /etc/bmx7-wg)",
    )
    files.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="where the service keeps changes made on the bus (default: /var/lib/bmx7-wg)",
    )
    doctor = add("doctor", parents=[common, files], help="what is wrong and what to do about it")
    doctor.set_defaults(run=commands.doctor)

    config = add("config", parents=[], help="the configuration, without the service")
    what = config.add_subparsers(metavar="check|show", required=True)
    add_config = partial(what.add_parser, parents=[common, files], allow_abbrev=False)
    add_config("check", help="is it valid?").set_defaults(run=commands.config_check)
    show = add_config("show", help="every value and where it comes from")
    show.set_defaults(run=commands.config_show)

    completion = add("completion", parents=[], help="a script that completes commands in a shell")
    completion.add_argument("shell", choices=SHELLS, help="for which shell")
    completion.set_defaults(run=commands.completion)

    # Without help it is not listed; the scripts call it.
    nodes = add("completion-nodes", parents=[])
    nodes.add_argument("verb")
    nodes.set_defaults(run=commands.completion_nodes)
    return top


class _Help(argparse.HelpFormatter):
    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            # Commands are measured without their indentation, and the longest would be broken.
            self._action_max_length += self._indent_increment


def _peer_options(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--public-key", metavar="KEY", required=True, help="its WireGuard public key (required)"
    )
    add.add_argument("--node-id", metavar="ID", help="its node id, if it is a node of the mesh")
    add.add_argument("--name", metavar="NAME", help="what to call it")
    add.add_argument(
        "--endpoint",
        metavar="ENDPOINT",
        help="where it is reached: 192.0.2.1:6277, [2001:db8::1]:6277",
    )
    add.add_argument(
        "--allowed-ips",
        metavar="PREFIX",
        action="append",
        default=[],
        help="what is sent to it, separated by commas; may be given several times",
    )
    add.add_argument(
        "--preshared-key-file",
        metavar="FILE",
        help="a file with the preshared key; - is standard input",
    )
    add.add_argument(
        "--keepalive",
        metavar="SECONDS",
        type=_keepalive,
        help=f"send a packet at least so often, 1 to {_MAX_KEEPALIVE}; 0 is off",
    )
    add.set_defaults(run=commands.add)


def _keepalive(text: str) -> int:
    # ValueError's own words are argparse's error.
    if not text.isdecimal() or int(text) > _MAX_KEEPALIVE:
        raise argparse.ArgumentTypeError(f"0 to {_MAX_KEEPALIVE} seconds are possible, not {text}")
    return int(text)
