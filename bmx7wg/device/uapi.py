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
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import zip_longest
from typing import Final

from ..core.model import ActualPeer, Endpoint, PeerStatistics
from ..core.operations import SetDevice
from ..core.planpeers import PeerOperation, RemovePeer, SetPeer
from .backend import Settings

DIRECTORY: Final = "/var/run/wireguard"  # built into wireguard-go and wg
CHUNK: Final = 100  # peers in a transaction
TIMEOUT: Final = 5.0  # s for an answer; 100 peers take 15 ms
_HANG_UP: Final = 0.5  # s that a killed process may need to let go of its socket
_RECEIVE: Final = 65536
_PUBLIC_KEY: Final = re.compile("^public_key=", re.MULTILINE)
_ALLOWED_IP: Final = "allowed_ip="
_MAX_ANSWER: Final = 64 * 1024 * 1024  # bytes; 10,000 peers of 64 networks have 25 MB

#: Networks are asked for again and again; to parse their text is most of reading a device.
_network = lru_cache(maxsize=65536)(ip_network)


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

    def get(self) -> str:
        return self._transact("get=1\n\n")

    def set(self, lines: str) -> None:
        self._transact(f"set=1\n{lines}\n")

    def _transact(self, request: str) -> str:
        self._socket.sendall(request.encode("ascii"))
        answer = bytearray()
        while not answer.endswith(b"\n\n"):
            data = self._socket.recv(_RECEIVE)
            if not data:
                raise ConnectionResetError("wireguard-go hung up")
            answer += data
            if len(answer) > _MAX_ANSWER:
                raise OSError("wireguard-go's answer has no end")
        end = answer.rindex(b"errno=")
        code = -int(answer[end:].removeprefix(b"errno="))
        if code:
            raise RefusedError(code, os.strerror(code))
        del answer[end:]  # in place: there may be megabytes before
        return answer.decode("ascii")


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
    for network in operation.allowed_ips:
        yield f"allowed_ip={network}\n"
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


def decode_device(text: str) -> Settings:
    head, peers = _sections(text)
    fields = _fields(head)
    settings = Settings()
    settings.private_key = bytes.fromhex(fields.get("private_key", "00" * 32))
    settings.listen_port = int(fields.get("listen_port", "0"))
    settings.firewall_mark = int(fields.get("fwmark", "0"))
    for key, lines in peers:
        fields = _fields(lines)
        counters = _decode_counters(fields)
        settings.peers[key] = ActualPeer(
            public_key=key,
            preshared_key=bytes.fromhex(fields.get("preshared_key", "00" * 32)),
            endpoint=counters.endpoint,
            allowed_ips=tuple(
                _network(line.removeprefix(_ALLOWED_IP))
                for line in lines
                if line.startswith(_ALLOWED_IP)
            ),
            keepalive=int(fields.get("persistent_keepalive_interval", "0")),
            last_handshake=counters.last_handshake,
            rx_bytes=counters.rx_bytes,
            tx_bytes=counters.tx_bytes,
        )
    return settings


def decode_statistics(text: str) -> dict[bytes, PeerStatistics]:
    _, peers = _sections(text)
    return {key: _decode_counters(_fields(lines)) for key, lines in peers}


def _sections(text: str) -> tuple[list[str], Iterator[tuple[bytes, list[str]]]]:
    """The lines of the device; of each peer its key and its lines, made when it is its turn.

    The lines of thousands of peers at a time would take memory that does not come back.
    """
    begins = [found.start() for found in _PUBLIC_KEY.finditer(text)]
    head = text[: begins[0]] if begins else text
    sections = (text[slice(*ends)].splitlines() for ends in zip_longest(begins, begins[1:]))
    peers = ((bytes.fromhex(key.partition("=")[2]), lines) for key, *lines in sections)
    return head.splitlines(), peers


def _fields(lines: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _decode_counters(fields: dict[str, str]) -> PeerStatistics:
    seconds = int(fields.get("last_handshake_time_sec", "0"))
    nanoseconds = int(fields.get("last_handshake_time_nsec", "0"))
    return PeerStatistics(
        last_handshake=seconds * 1_000_000_000 + nanoseconds,
        rx_bytes=int(fields.get("rx_bytes", "0")),
        tx_bytes=int(fields.get("tx_bytes", "0")),
        endpoint=_decode_endpoint(fields.get("endpoint", "")),
    )


@lru_cache(maxsize=16384)  # they are the same in most looks
def _decode_endpoint(text: str) -> Endpoint | None:
    """The scope is 0, not known, without a zone and with an interface's name in its place.

    Older versions leave the zone out; newer ones remember for a minute which index a name had.
    """
    if not text:
        return None
    host, _, port = text.rpartition(":")
    host, _, zone = host.strip("[]").partition("%")
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return Endpoint(address, int(port), int(zone) if zone.isdecimal() else 0)
