"""From a command's arguments to its module, which is imported when the command runs."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from .output import CommandError, Output, Status


def status(args: Namespace, output: Output) -> Status:
    from .session import snapshot
    from .status import show_status

    return show_status(snapshot(), output)


def peers(args: Namespace, output: Output) -> Status:
    from .peers import show_peers
    from .session import snapshot

    return show_peers(snapshot(), output, states=args.state)


def peer(args: Namespace, output: Output) -> Status:
    from .peers import show_peer
    from .session import snapshot

    return show_peer(snapshot(), output, args.node)


def networks(args: Namespace, output: Output) -> Status:
    from .networks import show_network, show_networks
    from .session import snapshot

    if args.network is None:
        return show_networks(snapshot(), output)
    return show_network(snapshot(), output, args.network)


def monitor(args: Namespace, output: Output) -> Status:
    from .monitor import monitor

    return monitor(output)


def add(args: Namespace, output: Output) -> Status:
    from .add import add, options

    return add(output, options(args))


def remove(args: Namespace, output: Output) -> Status:
    from .verbs import remove

    return remove(output, args.node)


def block(args: Namespace, output: Output) -> Status:
    from .verbs import block

    return block(output, args.node)


def unblock(args: Namespace, output: Output) -> Status:
    from .verbs import unblock

    return unblock(output, args.node)


def probe(args: Namespace, output: Output) -> Status:
    from .verbs import probe

    return probe(output, args.node)


def offer(args: Namespace, output: Output) -> Status:
    from .carry import offer, offer_options

    return offer(output, args.prefix, offer_options(args))


def withdraw(args: Namespace, output: Output) -> Status:
    from .carry import withdraw

    return withdraw(output, args.network)


def search(args: Namespace, output: Output) -> Status:
    from .carry import search, search_options

    return search(output, args.network, search_options(args))


def forget(args: Namespace, output: Output) -> Status:
    from .carry import forget

    return forget(output, args.search)


def rotate_key(args: Namespace, output: Output) -> Status:
    from .verbs import rotate_key

    return rotate_key(output)


def reload(args: Namespace, output: Output) -> Status:
    from .verbs import reload

    return reload(output)


def sync(args: Namespace, output: Output) -> Status:
    from .verbs import sync

    return sync(output)


def log_level(args: Namespace, output: Output) -> Status:
    from .verbs import log_level

    return log_level(output, args.level)


def doctor(args: Namespace, output: Output) -> Status:
    from .doctor import examine
    from .session import snapshot

    try:
        return examine(output, *_directories(args), snapshot())
    except CommandError as error:
        return examine(output, *_directories(args), error)


def config_check(args: Namespace, output: Output) -> Status:
    from .configcmd import check

    return check(*_directories(args), output)


def config_show(args: Namespace, output: Output) -> Status:
    from .configcmd import show

    return show(*_directories(args), output)


def completion(args: Namespace, output: Output) -> Status:
    from .arguments import parser
    from .shells import SCRIPTS

    output.line(SCRIPTS[args.shell](parser()))
    return Status.OK


def completion_words(args: Namespace, output: Output) -> Status:
    from .candidates import print_candidates

    return print_candidates(output, args.verb)


def _directories(args: Namespace) -> tuple[Path, Path]:
    from ..configfiles import DEFAULT_DIRECTORY, STATE_DIRECTORY

    return args.config_dir or DEFAULT_DIRECTORY, args.state_dir or STATE_DIRECTORY
