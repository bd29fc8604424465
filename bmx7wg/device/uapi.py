"""wireguard-go's configuration protocol: text over its UNIX socket (wireguard.com/xplatform).

A transaction is not atomic: what comes before a refused line stays. Switching a keepalive on
sends a handshake from within the transaction and may block for seconds; so keepalives come
last, in transactions of their own.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..core.model import ActualPeer, Address, Endpoint, Network
from ..core.operations import SetDevice
from ..core.planpeers import PeerOperation, RemovePeer, SetPeer
from ..core.prefixes import network
from .backend import Settings

DIRECTORY: Final = "/var/run/wireguard"  # built into wireguard-go and wg
CHUNK: Final = 100  # peers in a transaction
TIMEOUT: Final = 5.0  # s for an answer; 100 peers take 15 ms
_HANG_UP: Final = 0.5  # s that a killed process may need to let go of its socket
_RECEIVE: Final = 65536
_NEXT_PEER: Final = b"\npublic_key="
_ALLOWED_IP: Final = "allowed_ip="
_VALUE: Final = len(_ALLOWED_IP)
_COUNTERS: Final = re.compile(  # always together, in this order
    rb"\nlast_handshake_time_sec=(\d+)\nlast_handshake_time_nsec=(\d+)"
    rb"\ntx_bytes=(\d+)\nrx_bytes=(\d+)$",
    re.MULTILINE,
)
_MAPPED: Final = bytes(10) + b"\xff\xff"  # an IPv4 address as an IPv6 one (RFC 4291 2.5.5.2)
_MAX_ANSWER: Final = 64 * 1024 * 1024  # bytes; 10,000 peers of 64 networks have 25 MB


def socket_path(name: str) -> str:
    return f"{DIRECTORY}/{name}.sock"


class Connection:
    """One connection to wireguard-go; transactions one after the other.

    OSError if it isn't there or refuses something, TimeoutError if it does not answer.
    """

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(TIMEOUT)
        try:
            self._socket.connect(socket_path(name))
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def wait_for_end(self, seconds: float) -> None:
        """Return when wireguard-go has closed the connection, by ending, or time is over."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(1)
        except OSError:
            pass

    def get(self) -> Iterator[bytes]:
        """The lines of the device, then those of each peer from its key on, as they come."""
        return self._transact("get=1\n\n")

    def set(self, lines: str) -> None:
        for _ in self._transact(f"set=1\n{lines}\n"):
            pass  # there is nothing but whether it was refused

    def _transact(self, request: str) -> Iterator[bytes]:
        """The parts of the answer. As a whole it has megabytes, which would not all come back."""
        self._socket.sendall(request.encode("ascii"))
        rest, size = b"", 0
        while not rest.endswith(b"\n\n"):
            data = self._socket.recv(_RECEIVE)
            if not data:
                raise ConnectionResetError("wireguard-go hung up")
            size += len(data)
            if size > _MAX_ANSWER:
                raise OSError("wireguard-go's answer has no end")
            *whole, rest = (rest + data).split(_NEXT_PEER)
            yield from whole
        last, _, errno = rest.rpartition(b"errno=")
        yield last.removesuffix(b"\n")
        if code := -int(errno):
            raise RefusedError(code, os.strerror(code))


def answers(path: str) -> bool:
    """Whether a process listens on a socket, and does not just end: then it hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_HANG_UP)
        try:
            connection.connect(path)
            connection.recv(1)
        except TimeoutError:
            return True
        except OSError:
            pass
        return False


class RefusedError(OSError):
    """wireguard-go answered, and refused; the lines before the bad one are in force."""


# -- to wireguard-go ---------------------------------------------------------------------------


def encode_device(change: SetDevice) -> str:
    lines = []
    if change.private_key is not None:
        lines.append(f"private_key={change.private_key.hex()}\n")
    if change.listen_port is not None:
        lines.append(f"listen_port={change.listen_port}\n")
    if change.firewall_mark is not None:
        lines.append(f"fwmark={change.firewall_mark}\n")
    return "".join(lines)


def encode_peers(
    operations: Sequence[PeerOperation],
) -> Iterator[tuple[str, Sequence[PeerOperation]]]:
    """Transactions in order, each with the operations in it; keepalives last."""
    first = [o for o in operations if not _is_keepalive_only(o)]
    for start in range(0, len(first), CHUNK):
        chunk = first[start : start + CHUNK]
        yield "".join(line for operation in chunk for line in _peer_lines(operation)), chunk
    kept = [o for o in operations if isinstance(o, SetPeer) and o.keepalive is not None]
    for start in range(0, len(kept), CHUNK):
        last = kept[start : start + CHUNK]
        yield "".join(map(_keepalive_lines, last)), last


def _peer_lines(operation: PeerOperation) -> Iterator[str]:
    yield f"public_key={operation.public_key.hex()}\n"
    if isinstance(operation, RemovePeer):
        yield "remove=true\n"
        return
    if not operation.new:
        yield "update_only=true\n"
    if operation.preshared_key is not None:
        yield f"preshared_key={operation.preshared_key.hex()}\n"
    if operation.endpoint is not None:
        yield f"endpoint={_encode_endpoint(operation.endpoint)}\n"
    if operation.only_these:
        yield "replace_allowed_ips=true\n"
    for prefix in operation.allowed_ips:
        yield f"allowed_ip={prefix}\n"
    if operation.replaces is not None:
        yield f"public_key={operation.replaces.hex()}\nremove=true\n"


def _is_keepalive_only(operation: PeerOperation) -> bool:
    if not isinstance(operation, SetPeer) or operation.keepalive is None or operation.new:
        return False
    return replace(operation, keepalive=None) == SetPeer(public_key=operation.public_key)


def _keepalive_lines(operation: SetPeer) -> str:
    return (
        f"public_key={operation.public_key.hex()}\nupdate_only=true\n"
        f"persistent_keepalive_interval={operation.keepalive}\n"
    )


def _encode_endpoint(endpoint: Endpoint) -> str:
    if endpoint.address.version == 4:
        return f"{endpoint.address}:{endpoint.port}"
    # The index as zone, not the name: that may be another interface's by now.
    zone = f"%{endpoint.scope_id}" if endpoint.scope_id else ""
    return f"[{endpoint.address}{zone}]:{endpoint.port}"


# -- from wireguard-go -------------------------------------------------------------------------


class Reader:
    """Decodes what `Connection.get` gives of one device, one answer after the other.

    A peer of which nothing changed, not even a counter, is the same object as the last time. Its
    settings are known by the hash of their lines, which take five times as much memory.
    """

    def __init__(self) -> None:
        self._peers: dict[int, ActualPeer] = {}

    def device(self, parts: Iterator[bytes]) -> Settings:
        """All of an answer."""
        fields = _fields(next(parts).decode("ascii").splitlines())
        settings = Settings(
            private_key=bytes.fromhex(fields.get("private_key", "00" * 32)),
            listen_port=int(fields.get("listen_port", "0")),
            firewall_mark=int(fields.get("fwmark", "0")),
        )
        before, self._peers = self._peers, {}
        for part in parts:
            counters = _COUNTERS.search(part)
            lines = part[: counters.start()] + part[counters.end() :] if counters else part
            digest = hash(lines)
            peer = before.get(digest) or _decode_peer(lines.decode("ascii"))
            if counters:
                peer = _counted(peer, *map(int, counters.groups()))
            self._peers[digest] = settings.peers[peer.public_key] = peer
        return settings


def _decode_peer(text: str) -> ActualPeer:
    key, *lines = text.splitlines()
    fields = _fields(lines)
    networks = [_decode_network(line[_VALUE:]) for line in lines if line.startswith(_ALLOWED_IP)]
    return ActualPeer(
        public_key=bytes.fromhex(key),
        preshared_key=bytes.fromhex(fields.get("preshared_key", "00" * 32)),
        endpoint=_decode_endpoint(fields.get("endpoint", "")),
        allowed_ips=tuple(networks),
        keepalive=int(fields.get("persistent_keepalive_interval", "0")),
    )


def _counted(
    peer: ActualPeer, seconds: int, nanoseconds: int, tx_bytes: int, rx_bytes: int
) -> ActualPeer:
    """The peer with these counters, in the order of wireguard-go."""
    handshake = seconds * 1_000_000_000 + nanoseconds
    if (peer.last_handshake, peer.rx_bytes, peer.tx_bytes) == (handshake, rx_bytes, tx_bytes):
        return peer
    return ActualPeer(
        public_key=peer.public_key,
        preshared_key=peer.preshared_key,
        endpoint=peer.endpoint,
        allowed_ips=peer.allowed_ips,
        keepalive=peer.keepalive,
        last_handshake=handshake,
        rx_bytes=rx_bytes,
        tx_bytes=tx_bytes,
    )


def _fields(lines: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in [line.partition("=") for line in lines]}


def _decode_network(text: str) -> Network:
    address, _, length = text.partition("/")
    return network(_packed(address), int(length))


def _decode_endpoint(text: str) -> Endpoint | None:
    """The scope is 0, not known, without a zone and with an interface's name in its place.

    Older versions leave the zone out; newer ones remember for a minute which index a name had.
    """
    if not text:
        return None
    host, _, port = text.rpartition(":")
    host, _, zone = host.strip("[]").partition("%")
    packed = _packed(host)
    if packed.startswith(_MAPPED):
        packed = packed[len(_MAPPED) :]
    address: Address = IPv6Address(packed) if len(packed) == 16 else IPv4Address(packed)
    return Endpoint(address, int(port), int(zone) if zone.isdecimal() else 0)


def _packed(address: str) -> bytes:
    """Its 4 or 16 bytes; `ipaddress` takes ten times as long to read the text."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
