"""The real command line against the real bus room, on a private bus, with a made-up mesh.

    pytest ── publish() ──▶ Bus ──▶ dbus-daemon ◀── bmx7-wg (a process)
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bmx7wg.bus.errors import CallError
from bmx7wg.bus.service import Bus
from bmx7wg.core.identity import NodeId
from bmx7wg.core.model import Origin, PeerState
from bmx7wg.core.views import Changes, PeerView

from ..bus.daemon import Daemon
from .made_up import key, manager, peer, silent

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


def run(*args: str, user: int | None = None, **env: str) -> Finished:
    """Run ``bmx7-wg`` to its end."""
    done = subprocess.run(
        command(*args),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment(**env),
        user=user,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Finished(done.returncode, done.stdout, done.stderr)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < until, f"waited {DEADLINE} s for {what}"
        time.sleep(0.01)
    return found


class Controller:
    """What the service would be behind the bus: notes what is asked for, and shows it."""

    log_target = "journal"
    syslog_identifier = "bmx7-wgd"

    def __init__(self, publish: Callable[[Changes], None]) -> None:
        self._publish = publish
        self.log_level = "info"
        self.asked: list[Any] = []
        self.refusal: CallError | None = None  # of everything that is asked for

    def _ask(self, *what: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(what)

    def _show(self, view: PeerView) -> None:
        self._publish(Changes(peers=(view,)))

    async def refresh(self) -> None:
        pass

    def counters(self) -> dict[str, int]:
        return {}

    async def add_peer(self, said: Mapping[str, Any]) -> NodeId:
        self._ask("add", dict(said))
        view = silent(said.get("name", "n50"), PeerState.CONFIGURED)
        self._show(replace(view, origin=Origin.STATIC))
        return view.node_id

    async def remove_peer(self, node_id: NodeId) -> None:
        self._ask("remove", node_id)
        self._publish(Changes(gone=(node_id,)))

    async def block(self, node_id: NodeId) -> None:
        self._ask("block", node_id)
        if node_id == peer("n3").node_id:
            self._show(replace(peer("n3"), state=PeerState.BLOCKED))

    async def unblock(self, node_id: NodeId) -> bool:
        blocked = ("block", node_id) in self.asked
        self._ask("unblock", node_id)
        if node_id == peer("n3").node_id:
            self._show(replace(peer("n3"), state=PeerState.CONFIGURED))
        return blocked

    async def probe(self, node_id: NodeId) -> int:
        self._ask("probe", node_id)
        return 1234

    async def offer_network(self, said: Mapping[str, Any]) -> None:
        self._ask("offer", dict(said))
        offer = (said["network"], said.get("bandwidth", 1000), (said["network"],))
        self._publish(Changes(manager=manager(offers=(offer,))))

    async def withdraw_network(self, network: str) -> None:
        self._ask("withdraw", network)
        self._publish(Changes(manager=manager()))

    async def search_network(self, said: Mapping[str, Any]) -> None:
        self._ask("search", dict(said))
        search = (said.get("name", said["network"]), said["network"], 0, 128)
        self._publish(Changes(manager=manager(searches=(search,))))

    async def forget_search(self, text: str) -> None:
        self._ask("forget", text)
        self._publish(Changes(manager=manager()))

    async def rotate_key(self) -> str:
        self._ask("rotate-key")
        return key("new")

    async def synchronize(self) -> None:
        self._ask("sync")

    async def reload(self) -> None:
        self._ask("reload")
        problem = "device.name: changed; takes effect after a restart"
        self._publish(Changes(manager=manager(state="degraded", problems=(problem,))))


class Service:
    """The bus room of the service, in a thread with a loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.controller = Controller(lambda changes: self._bus.publish(changes))
        self.start()

    def start(self) -> None:
        self._states: list[bool] = []
        self._bus = Bus(self.controller, state=lambda there, why: self._states.append(there))
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
def place() -> Iterator[Path]:
    """A directory that other users may enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="bmx7wg-cli-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def daemon(place: Path) -> Iterator[Daemon]:
    daemon = Daemon(place)
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
