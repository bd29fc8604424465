"""Sockets that another process makes and hands over. In the real sandbox: tests/system."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bmx7wg import sockets
from bmx7wg.core.limits import LINK_PORT
from bmx7wg.core.model import SourceState

from .discovery.links import Ground, Namespace, ground, in_namespace, wait_for

Serve = Callable[[Namespace], None]
PROGRAM = [sys.executable, "-m", "bmx7wg.sockets"]
TREE = Path(__file__).resolve().parents[1]


@pytest.fixture
def lab() -> Iterator[Ground]:
    with ground() as made:
        yield made


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """What systemd does: a process for each connection, here inside a namespace.

    Who asks believes that it may make none itself.
    """
    monkeypatch.setattr(sockets, "allowed", lambda: False)
    monkeypatch.setattr(sockets, "PATH", str(tmp_path / "sockets"))
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    threads = []

    def accept(namespace: Namespace) -> None:
        namespace.enter()
        while True:
            try:
                asked, _ = listening.accept()
            except OSError:
                return
            with asked:
                subprocess.run(PROGRAM, cwd=TREE, stdin=asked)

    def begin(namespace: Namespace) -> None:
        listening.bind(sockets.PATH)
        listening.listen()
        threads.append(threading.Thread(target=accept, args=(namespace,)))
        threads[-1].start()

    yield begin
    if threads:
        listening.shutdown(socket.SHUT_RDWR)
        threads[0].join()
    listening.close()


def test_a_socket_is_handed_over(lab, serve, run_async):
    namespace = lab.namespace("a")
    serve(namespace)

    async def main() -> None:
        with await sockets.open_socket(sockets.LINK) as link:
            assert link.getsockname()[:2] == ("::", LINK_PORT)
            assert link.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
            assert not os.get_inheritable(link.fileno())
            assert not link.getblocking()
            with in_namespace(namespace), pytest.raises(OSError, match="in use"):
                sockets.make(sockets.LINK)  # it is of the other process's namespace
            sockets.make(sockets.LINK).close()
        with await sockets.open_socket(sockets.PROBE) as probe:
            assert probe.family == socket.AF_INET6

    run_async(main())


def test_its_error_comes_back(lab, serve, run_async):
    namespace = lab.namespace("a")
    serve(namespace)

    async def main() -> None:
        with in_namespace(namespace):
            taken = sockets.make(sockets.LINK)
        with taken, pytest.raises(OSError) as raised:
            await sockets.open_socket(sockets.LINK)
        assert (raised.value.errno, raised.value.strerror) == (
            errno.EADDRINUSE,
            "Address already in use",
        )
        with pytest.raises(OSError) as raised:
            await sockets.open_socket("anything")
        assert raised.value.errno == errno.EINVAL

    run_async(main())


def test_nobody_there_is_told_with_what_to_do(serve, run_async):
    async def main() -> None:
        with pytest.raises(FileNotFoundError) as raised:
            await sockets.open_socket(sockets.LINK)
        assert "systemctl restart bmx7-wg-sockets.socket" in str(raised.value.strerror)

    run_async(main())


def test_one_that_says_nothing_is_given_up(serve, run_async, monkeypatch):
    monkeypatch.setattr(sockets, "_LIMIT", 0.1)

    async def main() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
            silent.bind(sockets.PATH)
            silent.listen()
            with pytest.raises(TimeoutError) as raised:
                await sockets.open_socket(sockets.LINK)
            assert "no answer" in str(raised.value.strerror)

    run_async(main())


def test_one_that_ends_without_an_answer(serve, run_async):
    async def main() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(sockets.PATH)
            listening.listen()
            ending = threading.Thread(target=lambda: listening.accept()[0].close())
            ending.start()
            with pytest.raises(OSError, match="bmx7-wg-sockets.socket: "):
                await sockets.open_socket(sockets.LINK)
            ending.join()

    run_async(main())


def test_the_program_survives_who_asks_and_goes():
    for request in (b"link", b"", b"x" * 100):
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with here, there:
            if request:
                here.send(request)
            here.close()
            done = subprocess.run(PROGRAM, cwd=TREE, stdin=there, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_program_starts_quickly_for_what_it_imports():
    """Asyncio alone would make it wait for three times as long."""
    text = "import sys, bmx7wg.sockets; print(*sys.modules)"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '{TREE}'); {text}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "socket" in loaded
    assert not {"asyncio", "cryptography", "ipaddress", "dataclasses"} & set(loaded)


def test_two_nodes_find_each_other_by_given_sockets(lab, serve):
    """One of them with a socket that it has to ask for, when nobody gives any yet."""
    switch = lab.switch()
    one, other = lab.namespace("a"), lab.namespace("b")
    for namespace in (one, other):
        switch.plug(namespace)
    a = lab.node(one)
    wait_for(lambda: a.status.state is SourceState.FAILED, "nobody gives it one")
    assert "can't listen on UDP port 6276: bmx7-wg-sockets.socket: No such file" in a.status.detail
    serve(one)
    wait_for(lambda: a.ready, "it asks again")
    sockets.allowed = lambda: True  # set back by the fixture
    b = lab.node(other)
    a.wait_for(b)
    b.wait_for(a)
