"""The real command line against the real bus room, on a private bus, with a made-up mesh.

    pytest ── publish() ──▶ Bus ──▶ dbus-daemon ◀── bmx7-wg (a process)
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bmx7wg.bus.service import Bus
from bmx7wg.core.model import Changes

from ..bus.daemon import Daemon

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0  # s; for anything, on a busy machine


@dataclass(frozen=True)
class Finished:
    status: int
    out: str
    err: str


def command(*args: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "import sys; from bmx7wg.cli.main import main; sys.exit(main())",
    ] + [*args]


def environment(**changes: str) -> dict[str, str]:
    """The process's own, without what would change the output or find the machine's bus."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "COLUMNS", "DBUS_SYSTEM_BUS_ADDRESS")
    }
    nowhere = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bmx7-wg"}
    return {**kept, **nowhere, "PYTHONPATH": str(ROOT), **changes}


def run(*args: str, **env: str) -> Finished:
    """Run ``bmx7-wg`` to its end."""
    done = subprocess.run(
        command(*args), capture_output=True, text=True, timeout=DEADLINE, env=environment(**env)
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Finished(done.returncode, done.stdout, done.stderr)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < until, f"waited {DEADLINE} s for {what}"
        time.sleep(0.01)
    return found


class _Controller:
    async def refresh(self) -> None:
        pass


class Service:
    """The bus room of the service, in a thread with a loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.start()

    def start(self) -> None:
        self._states: list[bool] = []
        self._bus = Bus(_Controller(), state=lambda there, why: self._states.append(there))
        self._run(self._bus.start())

    def leave(self) -> None:
        self._run(self._bus.close())

    def publish(self, **changes: Any) -> None:
        async def publish() -> None:
            self._bus.publish(Changes(**changes))

        self._run(publish())

    def end(self) -> None:
        self.leave()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        self._loop.close()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def bus(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a program on the private bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", daemon.address)
    return {"DBUS_SYSTEM_BUS_ADDRESS": daemon.address}


@pytest.fixture
def service(bus: dict[str, str]) -> Iterator[Service]:
    service = Service()
    yield service
    service.end()
