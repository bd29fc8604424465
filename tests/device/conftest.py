"""Nodes on each backend."""

from __future__ import annotations

import contextlib
import itertools
import os
import time

import pytest

from .nodes import DEADLINE, Node, ip_batch, kernel_has_wireguard, plug_in

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def kernel_wireguard():
    return kernel_has_wireguard()


@pytest.fixture(params=["userspace", pytest.param("kernel", marks=pytest.mark.kernel)])
def backend(request):
    if request.param == "kernel" and not request.getfixturevalue("kernel_wireguard"):
        pytest.skip("no WireGuard in this kernel")
    return request.param


@pytest.fixture
def nodes(backend):
    """Two nodes on a cable, without devices yet."""
    number = next(NUMBERS)
    left = Node(f"l{os.getpid()}n{number}", 1, backend)
    right = Node(f"r{os.getpid()}n{number}", 2, backend)
    try:
        ip_batch(*(f"netns add {node.name}" for node in (left, right)))
        plug_in(left, right)
        yield left, right
    finally:
        for node in (left, right):
            if backend == "userspace":  # with its link, wireguard-go ends
                node.ip("link", "delete", "dev", node.name, check=False)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"/var/run/wireguard/{node.name}.sock")
        ip_batch(*(f"netns delete {node.name}" for node in (left, right)), check=False)
        deadline = time.monotonic() + DEADLINE
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < deadline:  # a wireguard-go whose device was closed
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    time.sleep(0.002)


@pytest.fixture
def scene(nodes, run_async):
    """Run a coroutine with the two nodes, and take their devices away afterwards."""

    def play(script):
        async def played():
            try:
                await script(*nodes)
            finally:
                for node in nodes:
                    await node.gone()

        run_async(played())

    return play
