"""``bmx7-wg add``: a peer by hand."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, Final

from ..bus.client import MANAGER, PEER, ROOT, Client
from .output import CommandError, Output, Status
from .session import ask, properties
from .terminal import printable
from .verbs import change
from .view import Peer, Values

_KEY_LENGTH: Final = 44  # characters of base64 for 32 bytes

Options = Mapping[str, tuple[str, Any]]  # the argument of AddPeer, with a signature for each


def options(args: Namespace) -> Options:
    """The options of AddPeer (dbus/org.bmx7.WireGuard1.xml) that *args* are about."""
    prefixes = [part.strip() for text in args.allowed_ips for part in text.split(",")]
    key_file = args.preshared_key_file
    said = {
        "PublicKey": ("s", args.public_key),
        "NodeId": ("s", args.node_id),
        "Name": ("s", args.name),
        "Endpoint": ("s", args.endpoint),
        "AllowedIPs": ("as", [prefix for prefix in prefixes if prefix]),
        "PresharedKey": ("s", _secret(key_file) if key_file is not None else None),
        "Keepalive": ("q", args.keepalive),
    }
    return {name: pair for name, pair in said.items() if pair[1] not in (None, [])}


def add(output: Output, said: Options) -> Status:
    async def work(client: Client) -> Values:
        path = await change(client, ROOT, MANAGER, "AddPeer", "a{sv}", (said,))
        return await properties(client, path, PEER)

    peer = Peer.of(ask(work))
    if output.json:
        output.document({"peer": peer.properties})
        return Status.OK
    output.line(f"added peer {printable(peer.label)} ({printable(peer.state)})")
    return Status.OK


def _secret(path: str) -> str:
    """The preshared key in a file; it is in no message and never on the command line."""
    where = "standard input" if path == "-" else path
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            content = file.read(1024)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    text = content.decode("ascii", "replace").strip()
    if len(text) != _KEY_LENGTH or not (text.isascii() and text.isprintable()):
        hint = "make one: wg genpsk"
        raise CommandError(f"{where} has no preshared key: 44 characters of base64", (hint,))
    return text
