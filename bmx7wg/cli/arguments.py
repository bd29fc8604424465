"""The arguments of ``bmx7-wg``; its help and the completion of the shells are made of them.

A metavar says what an argument is: the shells complete a NODE, NETWORK, SEARCH, STATE, LEVEL,
FILE or DIR.
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
_MAX_NUMBER: Final = 0xFFFFFFFF  # the kernel's are of 32 bits


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
    networks = add("networks", help="the networks that peers carry, or all about one")
    networks.add_argument(
        "network", metavar="NETWORK", nargs="?", help="a prefix, or an address in it"
    )
    networks.set_defaults(run=commands.networks)
    add("monitor", help="changes as they happen").set_defaults(run=commands.monitor)

    _peer_options(add("add", help="add a peer by hand"))
    for name, run, text in (
        ("remove", commands.remove, "remove a peer that was added"),
        ("block", commands.block, "keep a node out"),
        ("unblock", commands.unblock, "let a node in again"),
        ("probe", commands.probe, "the round trip to a peer"),
    ):
        add_for_node(name, help=text).set_defaults(run=run)

    _offer_options(add("offer", help="carry a network for others"))
    withdraw = add("withdraw", help="carry a network no more")
    withdraw.add_argument("network", metavar="NETWORK", help="a prefix that is offered")
    withdraw.set_defaults(run=commands.withdraw)
    _search_options(add("search", help="use networks that others carry"))
    forget = add("forget", help="use these networks no more")
    forget.add_argument("search", metavar="SEARCH", help="the search's name, or its prefix")
    forget.set_defaults(run=commands.forget)

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
    words = add("completion-words", parents=[])
    words.add_argument("verb")
    words.set_defaults(run=commands.completion_words)
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


def _offer_options(offer: argparse.ArgumentParser) -> None:
    offer.add_argument("prefix", metavar="PREFIX", help="the network: 10.3.0.0/24, ::/0")
    number = partial(offer.add_argument, type=_number, metavar="NUMBER")
    switch = partial(offer.add_argument, action="store_const", default=None)
    offer.add_argument(
        "--bandwidth", metavar="RATE", type=_rate, help="what it can carry, in bit/s: 512k, 32M, 1G"
    )
    switch("--while-route", const=True, help="only while there is a route to it from here")
    offer.add_argument(
        "--from-table",
        metavar="TABLE",
        type=_table,
        help="what is in this routing table inside PREFIX: a number, main or default",
    )
    number("--min-prefix-length", help="the shortest prefix that counts")
    number("--max-prefix-length", help="the longest prefix that counts")
    switch("--no-aggregate", dest="aggregate", const=False, help="keep neighbouring prefixes apart")
    offer.set_defaults(run=commands.offer)


def _search_options(search: argparse.ArgumentParser) -> None:
    search.add_argument("network", metavar="NETWORK", help="the network: 10.0.0.0/8, ::/0")
    number = partial(search.add_argument, type=_number)
    switch = partial(search.add_argument, action="store_const", const=False, default=None)
    search.add_argument("--name", metavar="NAME", help="what to call this search")
    number("--min-prefix-length", metavar="NUMBER", help="the shortest prefix that counts")
    number("--max-prefix-length", metavar="NUMBER", help="the longest prefix that counts")
    search.add_argument("--gateway-name", metavar="NAME", help="only through nodes of this name")
    search.add_argument("--gateway-id", metavar="ID", help="only through the node with this id")
    search.add_argument(
        "--min-bandwidth", metavar="RATE", type=_rate, help="as much is as good as more: 10M"
    )
    number("--rating", metavar="PERCENT", help="what an offer counts for this search")
    number("--hysteresis", metavar="PERCENT", help="how much better another gateway has to be")
    number("--metric", metavar="NUMBER", help="of the route")
    number("--table", metavar="NUMBER", help="the routing table of the route")
    number("--rule", metavar="NUMBER", help="the priority of the rule that leads to the table")
    switch("--no-allow-overlap", dest="allow_overlap", help="no longer prefix of a worse gateway")
    switch(
        "--no-break-overlap",
        dest="break_overlap",
        help="no prefix inside one of a better gateway",
    )
    search.set_defaults(run=commands.search)


def _rate(text: str) -> int:
    from .units import parse_rate

    try:
        return parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _table(text: str) -> int:
    names = {"main": 254, "default": 253}  # linux/rtnetlink.h
    return names[text] if text in names else _number(text)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > len(str(_MAX_NUMBER)) or int(text) > _MAX_NUMBER:
        raise argparse.ArgumentTypeError(f'"{text}" is no whole number')
    return int(text)


def _keepalive(text: str) -> int:
    # ValueError's own words are argparse's error.
    if not text.isdecimal() or int(text) > _MAX_KEEPALIVE:
        raise argparse.ArgumentTypeError(f"0 to {_MAX_KEEPALIVE} seconds are possible, not {text}")
    return int(text)
