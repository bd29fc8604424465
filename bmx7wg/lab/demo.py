"""The demo: a mesh of nodes that find each other, told step by step."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from .mesh import Mesh
from .node import Node
from .ping import Pinger
from .topology import lan
from .waiting import LabError, wait_until

CONNECT_TIMEOUT: Final = 30.0  # s; a mesh of 5 takes 1 to 2 on two cores
LEAVE_TIMEOUT: Final = 10.0
LEFT: Final = ("lost", "")  # states of a peer that said goodbye; "" is: not listed any more
LAN: Final = IPv6Network("fd42:2::/64")  # behind n2
SEARCHED: Final = "fd42::/16"
_INDENT: Final = 5  # columns before what a command printed


def demo(count: int) -> int:
    """Show a mesh of *count* nodes from the first start to the last; exit status.

    LabError when anything does not hold. Nothing is left behind in any case.
    """
    if not 2 <= count <= 20:
        raise LabError("the demo takes 2 to 20 nodes")
    show = _Show()
    with show.step(f"building {count} nodes on one link, each with a system bus of its own"):
        mesh = Mesh(lan(count))
    with mesh:
        with show.step(f"starting {count} services at once, without any configuration"):
            mesh.start()
        with show.step(f"waiting until all {count * (count - 1)} tunnel ends are connected"):
            mesh.wait_connected(timeout=CONNECT_TIMEOUT)
        first, last = mesh["n1"], mesh[f"n{count}"]
        show.output("n1$ bmx7-wg status", _run(first, "status"))
        with show.step("pinging every mesh address from every node") as say:
            times = [rtt for node in mesh for rtt in _ping_all(node, mesh)]
            say(f"{len(times)} of {len(times)} answered, median {_median(times) * 1000:.1f} ms")
        gateway = mesh["n2"]
        with show.step(f"n2 offers {LAN}, n1 searches {SEARCHED} and pings into it") as say:
            _put_behind(gateway, LAN)
            _run(gateway, "offer", str(LAN))
            _run(first, "search", SEARCHED)
            with Pinger(first.namespace) as pinger:
                (rtt,) = pinger.round_trips([LAN[1]], timeout=10).values()
            say(f"answered in {rtt * 1000:.1f} ms")
        show.output("n1$ bmx7-wg networks", _run(first, "networks"))
        address = _address(last)
        with show.step(f"stopping {last.name}: it says goodbye and leaves") as say:
            if status := last.stop():
                raise LabError(f"the service of {last.name} ended with status {status}")
            for node in mesh:
                if node is not last:
                    _wait_left(node, last.name)
            if last.mesh_address():
                raise LabError(f"{last.name} left its device behind")
            say("every other node saw it leave")
        show.output("n1$ bmx7-wg peers", _run(first, "peers"))
        with show.step(f"bringing {last.name} back") as say:
            last.start()
            last.wait_ready()
            mesh.wait_connected(timeout=CONNECT_TIMEOUT)
            if _address(last) != address:
                raise LabError(f"{last.name} came back as somebody else: {_address(last)}")
            with Pinger(first.namespace) as pinger:
                pinger.round_trips([address], timeout=5)
            say("same address, answers again")
        with show.step("taking it all down"):
            mesh.close()
    show.end()
    return 0


def _run(node: Node, *command: str) -> str:
    answer = node.exec(["env", f"COLUMNS={_columns() - _INDENT}", "bmx7-wg", *command])
    if answer.returncode:
        what = " ".join(("bmx7-wg", *command))
        raise LabError(f"{what} ended with {answer.returncode}: {answer.stderr}")
    return answer.stdout


def _put_behind(node: Node, lan: IPv6Network) -> None:
    """Give a node the first address of a network, and let it be a router."""
    node.namespace.ip([f"address add {lan[1]}/{lan.prefixlen} dev lo nodad"])
    answer = node.exec(["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"])
    if answer.returncode:
        raise LabError(f"{node.name} does not forward: {answer.stderr}")


def _columns() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def _address(node: Node) -> IPv6Address:
    address = node.mesh_address()
    if not address:
        raise LabError(f"{node.name} has no mesh address")
    return address


def _ping_all(node: Node, mesh: Mesh) -> list[float]:
    addresses = [_address(other) for other in mesh if other is not node]
    with Pinger(node.namespace) as pinger:
        return list(pinger.round_trips(addresses, timeout=10).values())


def _wait_left(node: Node, name: str) -> None:
    def state() -> str:
        return next((peer.state for peer in node.peers() if peer.name == name), "")

    what = f"sign that {node.name} knows of {name}'s leaving"
    wait_until(lambda: state() in LEFT, what, timeout=LEAVE_TIMEOUT)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


class _Show:
    """Tells what goes on: one line a step, which on a terminal shows that it is at work."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._terminal = sys.stdout.isatty()

    @contextmanager
    def step(self, text: str) -> Iterator[_Note]:
        begin = time.monotonic()
        note = _Note()
        if self._terminal:
            print(f"  …  {text}"[: _columns() - 1], end="", flush=True)  # it must not wrap
        try:
            yield note
        except BaseException:
            self._finish("\x1b[31m✗\x1b[0m" if self._terminal else "FAILED", text)
            raise
        took = time.monotonic() - begin
        tail = f": {note.text}" if note.text else ""
        self._finish("\x1b[32m✓\x1b[0m" if self._terminal else "ok", f"{text}{tail} ({took:.1f} s)")

    def _finish(self, mark: str, text: str) -> None:
        start = "\r\x1b[K" if self._terminal else ""
        print(f"{start}  {mark}  {text}", flush=True)

    def output(self, command: str, text: str) -> None:
        lines = (" " * _INDENT + line for line in (command, *text.splitlines()))
        print("\n" + "".join(line.rstrip() + "\n" for line in lines), flush=True)

    def end(self) -> None:
        print(f"all of it held, in {time.monotonic() - self._begin:.1f} s; nothing is left behind")


class _Note:
    """What a step has to say when it is done."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, text: str) -> None:
        self.text = text
