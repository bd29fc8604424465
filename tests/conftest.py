"""What all tests share: nothing may leak, and skips say why."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Callable, TypeVar

import pytest
from hypothesis import settings

from .system.guests import SUITES

T = TypeVar("T")

VECTORS = Path(__file__).resolve().parent / "vectors"

LIMIT = 180.0  # s for a coroutine; the longest takes 30 s in the emulated machine, if that is alone

# Nothing is asserted of wall time: the machine may be busy.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Who starts the tests in the background has SIGINT ignored, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes ("-n 2 --dist loadgroup") take a Debian release each, its tests in order."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        for suite in SUITES:
            if callspec is not None and suite in callspec.params.values():
                item.add_marker(pytest.mark.xdist_group(suite))


@pytest.fixture
def run_async() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine to its end; a task that it leaves behind is a failure."""

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        async def watched() -> T:
            result = await asyncio.wait_for(coroutine, LIMIT)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not others, f"tasks left behind: {others}"
            return result

        return asyncio.run(watched())

    return run


def _children() -> set[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in path.read_text().split()}


def _namespaces() -> set[str]:
    try:
        return set(os.listdir("/run/netns"))
    except FileNotFoundError:
        return set()


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """A child process, or a network namespace named after this process, fails its test."""
    children, namespaces = _children(), _namespaces()
    yield
    left = _children() - children
    assert not left, f"processes left behind: {left}"
    mine = {name for name in _namespaces() - namespaces if str(os.getpid()) in name}
    assert not mine, f"network namespaces left behind: {mine}"
