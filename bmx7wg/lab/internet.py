"""The rest of the world, for nodes that are gateways to it, and traffic that goes there.

::

    n1 ─┬─ n2 ─┐
        ├─ n3 ─┼─ internet, 203.0.113.1 and 2001:db8:ffff::1
        └─ n4 ─┘

Each gateway has a cable of its own with an address of its own, and hides what it forwards behind
that address, as a router at home does (nftables).
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from .namespace import Namespace
from .node import Node
from .waiting import LabError, wait_until

UPLINK: Final = "uplink"  # the interface of a gateway that leads there
SERVER4: Final = IPv4Address("203.0.113.1")
SERVER6: Final = IPv6Address("2001:db8:ffff::1")
DOWNLOAD: Final = 2**20  # bytes that a TCP connection gets
_PORT: Final = 7
_MASQUERADE: Final = f"""
table inet uplink {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{UPLINK}" masquerade
    }}
}}
"""

#: The configuration of a node that wants to reach it through others.
CLIENT: Final = """
[device]
addresses = ["10.77.0.1/32"]
[[search]]
network = "0.0.0.0/0"
max-prefix-length = 0
[[search]]
network = "::/0"
max-prefix-length = 0
"""

#: That of a gateway: it carries both default routes, and takes the client's address.
GATEWAY: Final = """
[device]
forward = true
[[offer]]
network = "0.0.0.0/0"
bandwidth = 32000000
while-route = true
[[offer]]
network = "::/0"
bandwidth = 32000000
while-route = true
[[search]]
network = "10.77.0.0/16"
"""


class Internet:
    """A machine that answers: what is sent to UDP port 7 comes back (RFC 862).

    Who connects to TCP port 7 gets a megabyte.
    """

    def __init__(self) -> None:
        self.namespace: Final = Namespace.create("internet")
        self._joined = 0
        self._sockets: list[socket.socket] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._answer)
        try:
            self.namespace.ip(
                [
                    f"address add {SERVER4}/32 dev lo",
                    f"address add {SERVER6}/128 dev lo nodad",
                ]
            )
            for server in (str(SERVER4), str(SERVER6)):
                self._sockets.append(self.namespace.in_network(lambda: _bound(server, _PORT)))
                self._sockets.append(self.namespace.in_network(lambda: _listening(server)))
        except BaseException:
            self.close()
            raise
        self._thread.start()

    def join(self, node: Node) -> None:
        """Lay a cable to *node*, with default routes there and masquerading."""
        self._joined += 1
        number, here = self._joined, f"n{self._joined}"
        self.namespace.ip(
            [
                f"link add name {here} type veth peer name {UPLINK} netns {node.namespace.pid}",
                f"link set {here} up",
                f"address add 198.51.100.{4 * number + 1}/30 dev {here}",
                f"address add 2001:db8:{number:x}::1/64 dev {here} nodad",
            ]
        )
        node.namespace.ip(
            [
                f"link set {UPLINK} up",
                f"address add 198.51.100.{4 * number + 2}/30 dev {UPLINK}",
                f"address add 2001:db8:{number:x}::2/64 dev {UPLINK} nodad",
                f"route add default via 198.51.100.{4 * number + 1}",
                f"route add default via 2001:db8:{number:x}::1",
            ]
        )
        path = node.namespace.path("/run/lab/masquerade.nft")
        path.write_text(_MASQUERADE)
        done = node.exec(["nft", "--file", "/run/lab/masquerade.nft"])
        if done.returncode:
            raise LabError(f"{node.name}: nft: {done.stderr.strip()}")

    def download(self, node: Node, server: IPv4Address | IPv6Address = SERVER4) -> bytes:
        """What *node* gets over a TCP connection of its own; OSError if it gets none."""
        to = str(server), _PORT
        with node.namespace.in_network(lambda: socket.create_connection(to, timeout=10)) as got:
            return b"".join(iter(lambda: got.recv(65536), b""))

    def close(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        for sock in self._sockets:
            sock.close()
        self.namespace.destroy()

    def __enter__(self) -> Internet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> None:
        while not self._end.is_set():
            for sock in select.select(self._sockets, [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    if sock.type == socket.SOCK_DGRAM:
                        sock.sendto(*sock.recvfrom(2048))
                    else:
                        threading.Thread(target=_serve, args=sock.accept()[:1]).start()


class Traffic:
    """Datagrams to the server and back, one each *period* seconds, while it is open."""

    def __init__(
        self, node: Node, server: IPv4Address | IPv6Address = SERVER4, *, period: float = 0.01
    ) -> None:
        anywhere = "0.0.0.0" if server.version == 4 else "::"
        self._to = str(server), _PORT
        self._period = period
        self._socket = node.namespace.in_network(lambda: _bound(anywhere, 0))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._answers: list[float] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()

    def wait(self, timeout: float) -> float:
        """Wait for an answer to what is sent from now on; when it came (monotonic, s)."""
        begun = time.monotonic()
        wait_until(
            lambda: any(when > begun for when in self._answers[-1:]),
            f"an answer from {self._to[0]}",
            timeout=timeout,
            interval=self._period,
        )
        return self._answers[-1]

    def gaps(self, since: float) -> Iterator[float]:
        """The seconds between answers, from the last one before *since* on."""
        times = list(self._answers)
        first = max((i for i, when in enumerate(times) if when <= since), default=0)
        return (there - here for here, there in zip(times[first:], times[first + 1 :]))

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.is_set():
            due += self._period
            with contextlib.suppress(OSError):  # no route at the moment
                self._socket.sendto(str(time.monotonic()).encode(), self._to)
            while (left := due - time.monotonic()) > 0:
                if not select.select([self._socket], [], [], left)[0]:
                    break
                with contextlib.suppress(OSError):
                    self._socket.recv(2048)
                    self._answers.append(time.monotonic())


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind((address, port))
    return sock


def _listening(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, _PORT), family=family)


def _serve(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(10)
        connection.sendall(bytes(DOWNLOAD))
