"""The commands that change something: what the service is asked to do, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from ..bus.client import MANAGER, PEER, ROOT, CallError, Client, peer_path
from .agent import agent
from .output import CommandError, NoSuchPeer, Output, Status
from .resolve import absent, resolve
from .session import PROPERTIES, ask, kind, look, properties
from .table import wrapped
from .terminal import printable
from .units import counted, span
from .view import Manager, Peer, Snapshot, Values

#: Seconds that an answer may take: longer than the service waits for somebody to find a password,
#: and than a new key needs to be known everywhere.
PATIENCE: Final = 330.0

_LOG_CONTROL: Final = "org.freedesktop.LogControl1"
_LOG_CONTROL_PATH: Final = "/org/freedesktop/LogControl1"


async def change(
    client: Client,
    path: str,
    interface: str,
    member: str,
    signature: str = "",
    args: Sequence[Any] = (),
) -> Any:
    """Call a method that polkit may have to allow first."""
    with agent():
        return await client.call(
            path, interface, member, signature, args, interactive=True, timeout=PATIENCE
        )


# -- one peer


def remove(output: Output, text: str) -> Status:
    async def work(client: Client) -> tuple[Peer, Values]:
        path, peer = _find(text, await look(client))
        await change(client, ROOT, MANAGER, "RemovePeer", "o", (path,))
        return peer, await properties(client, path, PEER)

    peer, left = ask(work)
    if output.json:
        output.document({"peer": peer.properties})
        return Status.OK
    output.line(f"removed {_named(peer)}")
    if left:
        # Added by hand, and found by itself as well.
        output.line(f"it is still there: found by {printable(Peer.of(left).origin)}")
    return Status.OK


def block(output: Output, text: str) -> Status:
    peer = ask(partial(_admit, text=text, member="Block"))
    if output.json:
        output.document({"peer": peer.properties})
    else:
        output.line(f"blocked {_named(peer)}")
    return Status.OK


def unblock(output: Output, text: str) -> Status:
    peer = ask(partial(_admit, text=text, member="Unblock"))
    if output.json:
        output.document({"peer": peer.properties})
    else:
        output.line(f"unblocked {_named(peer)} ({printable(peer.state) or 'not there'})")
    return Status.OK


async def _admit(client: Client, *, text: str, member: str) -> Peer:
    """Block or unblock the node that *text* means, there or not; returns it as it is then."""
    snapshot = await look(client)
    try:
        path, peer = _find(text, snapshot)
    except NoSuchPeer as error:
        node_id = absent(text, snapshot)
        if node_id is None:
            hint = "a node that is not there is meant by its whole node id"
            raise NoSuchPeer(error.message, (*error.hints, hint)) from None
        path, peer = peer_path(node_id), Peer.of({"NodeId": node_id.hex().upper()})
    await change(client, path, PEER, member)
    return Peer.of(await properties(client, path, PEER) or peer.properties)


def probe(output: Output, text: str) -> Status:
    async def work(client: Client) -> tuple[Peer, int]:
        path, peer = _find(text, await look(client))
        if not peer.address:
            raise CommandError(f"{_named(peer)} is no node: it has no mesh address to answer at")
        try:
            return peer, await change(client, path, PEER, "Probe")
        except CallError as error:
            if kind(error) != "NoReply":
                raise
            hint = f"see why: bmx7-wg peer {peer.label}; bmx7-wg doctor"
            raise CommandError(f"{_named(peer)} does not answer", (hint,)) from None

    peer, time_us = ask(work)
    if output.json:
        output.document({"peer": peer.properties, "time_us": time_us})
    else:
        output.line(f"{_named(peer)} answers in {span(time_us)}")
    return Status.OK


def _find(text: str, snapshot: Snapshot) -> tuple[str, Peer]:
    """The object path of the peer that *text* means, and the peer."""
    peer = resolve(text, snapshot)
    return next(path for path, other in snapshot.peers.items() if other is peer), peer


def _named(peer: Peer) -> str:
    return f"peer {printable(peer.label)}"


# -- the service


def rotate_key(output: Output) -> Status:
    if output.terminal.width and not output.json:
        output.line("announcing a new key; it is used once the others know it …")
        output.flush()

    async def work(client: Client) -> str:
        key: str = await change(client, ROOT, MANAGER, "RotateKey")
        return key

    key = ask(work)
    if output.json:
        output.document({"public_key": key})
    else:
        output.line(f"the public key is now {printable(key)}")
    return Status.OK


def reload(output: Output) -> Status:
    return _anew(output, "Reload", "the configuration was read anew")


def sync(output: Output) -> Status:
    return _anew(output, "Synchronize", "peers and device were read anew")


def _anew(output: Output, member: str, sentence: str) -> Status:
    """Call a method, then tell the problems that the service has: some say what came of it."""

    async def work(client: Client) -> Values:
        await change(client, ROOT, MANAGER, member)
        return await properties(client, ROOT, MANAGER)

    manager = Manager.of(ask(work))
    if output.json:
        output.document({"manager": manager.properties})
        return Status.OK
    output.line(f"{sentence}; the service is {printable(manager.state)}")
    if manager.problems:
        output.line(output.terminal.paint(counted(len(manager.problems), "problem"), "bad"))
        for problem in manager.problems:
            for line in wrapped(problem, output.terminal):
                output.line(line)
    return Status.OK


def log_level(output: Output, level: str | None) -> Status:
    """Tell the level, or set it."""

    async def work(client: Client) -> str:
        if level is not None:
            value = (_LOG_CONTROL, "LogLevel", ("s", level))
            await change(client, _LOG_CONTROL_PATH, PROPERTIES, "Set", "ssv", value)
        wanted = (_LOG_CONTROL, "LogLevel")
        word: str = await client.call(_LOG_CONTROL_PATH, PROPERTIES, "Get", "ss", wanted)
        return word

    word = ask(work)
    if output.json:
        output.document({"level": word})
    else:
        output.line(printable(word))
    return Status.OK
