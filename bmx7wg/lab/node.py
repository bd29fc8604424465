"""A node of the lab: a machine with a system bus and the service."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any, Final

from ..core.limits import DEFAULT_DEVICE
from .bus import SystemBus
from .namespace import Namespace, Process
from .notify import NotifySocket
from .programs import Programs
from .waiting import LabError, wait_until

CONFIG_DIR: Final = "/run/lab/etc"
STATE_DIR: Final = "/run/lab/lib"
LOG: Final = "/run/lab/log"
_NOTIFY: Final = "/run/lab/notify"

NAME: Final = "org.bmx7.WireGuard1"
PATH: Final = "/org/bmx7/WireGuard1"

READY_TIMEOUT: Final = 60.0  # s; a loaded machine takes 2, an emulated one 20
STOP_TIMEOUT: Final = 10.0


@dataclass(frozen=True)
class Peer:
    """A peer as the node's service shows it on the bus."""

    node_id: str
    name: str
    state: str
    reason: str
    address: str
    public_key: str
    endpoint: str


class Node:
    """One node; the service's files lie in its own /run and live as long as it does."""

    def __init__(self, namespace: Namespace, programs: Programs) -> None:
        self.name: Final = namespace.name
        self.namespace: Final = namespace
        self.programs: Final = programs
        self.bus: Final = SystemBus(namespace, programs)
        self.service: Process | None = None
        self.started_at = 0.0  # monotonic, s
        self._notify: NotifySocket | None = None
        self._environment = programs.environment()

    def prepare(self, config: str = "") -> None:
        """Write the configuration and start the bus."""
        for directory in (CONFIG_DIR, STATE_DIR):
            path = self.namespace.path(directory)
            path.mkdir(mode=0o700, exist_ok=True)
        self.configure(config)
        for name, script in self.programs.wrappers().items():
            wrapper = self.namespace.path(f"/run/lab/bin/{name}")
            wrapper.write_text(script)
            wrapper.chmod(0o755)
        self.bus.start()

    def configure(self, config: str) -> None:
        """Write config.toml; the service reads it when it starts or reloads."""
        self.namespace.path(f"{CONFIG_DIR}/config.toml").write_text(config)

    # -- the service ----------------------------------------------------------------------

    def start(self, *, env: Mapping[str, str] | None = None) -> None:
        """Start the service, without waiting for it."""
        if self.service and self.service.running:
            raise LabError(f"{self.name}: the service runs already")
        if not self._notify:
            self._notify = NotifySocket(self.namespace.path(_NOTIFY))
        self._notify.clear()
        directories = ("--config-dir", CONFIG_DIR, "--state-dir", STATE_DIR)
        with self.namespace.path(LOG).open("ab") as log:
            self.started_at = time.monotonic()
            self.service = self.namespace.spawn(
                [*self.programs.service, *directories],
                env={**self._environment, "NOTIFY_SOCKET": _NOTIFY, **(env or {})},
                stdout=log,
                stderr=log,
            )

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> float:
        """Wait for READY=1; when it came (monotonic, s). LabError if the service ends."""
        deadline = time.monotonic() + timeout
        while self._notify and self.service:
            left = deadline - time.monotonic()
            ready = self._notify.wait("READY", min(max(left, 0), 0.2))
            if ready is not None:
                return ready
            if not self.service.running:
                status = self.service.wait(0)
                raise LabError(f"{self.name}: the service ended with {status}:\n{self.log()}")
            if left <= 0:
                raise LabError(f"{self.name}: not ready after {timeout:g} s:\n{self.log()}")
        raise LabError(f"{self.name}: the service was not started")

    def stop(self) -> int:
        """End the service as systemd does, SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End the service without a word."""
        return self._end(signal.SIGKILL)

    def forget(self) -> None:
        """Lose the identity and all other state, as before the very first start."""
        shutil.rmtree(self.namespace.path(STATE_DIR))
        self.namespace.path(STATE_DIR).mkdir(mode=0o700)

    def crash(self) -> None:
        """Lose all that runs, as in a power cut; what was written to files stays.

        The bus is up again afterwards, the service is not.
        """
        self.namespace.kill_all()
        if self.mesh_address():  # the kernel's WireGuard needs no process
            self.namespace.ip([f"link delete {DEFAULT_DEVICE}"])
        if self.service:
            self.service.wait(STOP_TIMEOUT)
        self.bus.start()

    def _end(self, number: signal.Signals) -> int:
        if not self.service:
            raise LabError(f"{self.name}: the service was not started")
        self.service.signal(number)
        return self.service.wait(STOP_TIMEOUT)

    def said(self, field: str) -> str:
        """The last value of a field that the service sent with sd_notify(3)."""
        last = self._notify.last(field) if self._notify else None
        return last[0] if last else ""

    def log(self) -> str:
        """What the service wrote."""
        path = self.namespace.path(LOG)
        return path.read_text(errors="replace") if path.exists() else ""

    # -- what it knows --------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """``bmx7-wg --json status``."""
        answer = self.exec([*self.programs.client, "--json", "status"])
        if answer.returncode:
            raise LabError(f"{self.name}: bmx7-wg status: {answer.stderr.strip()}")
        return dict(json.loads(answer.stdout))

    def objects(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The service's objects on the bus: path, interface without its prefix, property."""
        manager = "org.freedesktop.DBus.ObjectManager"
        (managed,) = self.bus.call(NAME, PATH, manager, "GetManagedObjects")
        return {
            path: {
                interface.removeprefix(NAME + "."): {
                    name: variant["data"] for name, variant in properties.items()
                }
                for interface, properties in interfaces.items()
            }
            for path, interfaces in managed.items()
        }

    def state(self) -> str:
        """What the service says of itself: starting, running, degraded, stopping."""
        properties = "org.freedesktop.DBus.Properties"
        (state,) = self.bus.call(NAME, PATH, properties, "Get", "ss", NAME + ".Manager", "State")
        return str(state["data"])

    def peers(self) -> list[Peer]:
        """The peers on the bus."""
        found = []
        for interfaces in self.objects().values():
            if peer := interfaces.get("Peer"):
                found.append(
                    Peer(
                        node_id=peer["NodeId"],
                        name=peer["Name"],
                        state=peer["State"],
                        reason=peer["Reason"],
                        address=peer["Address"],
                        public_key=peer["PublicKey"],
                        endpoint=peer["Endpoint"],
                    )
                )
        return found

    def connected(self) -> set[str]:
        """The names of the peers that are connected."""
        return {peer.name for peer in self.peers() if peer.state == "connected"}

    def gateway_of(self, prefix: str) -> str:
        """The name of the peer that carries a network; empty for none."""
        objects = self.objects()
        for interfaces in objects.values():
            network = interfaces.get("Network")
            if network and network["Prefix"] == prefix and network["Gateway"] != "/":
                return str(objects[network["Gateway"]]["Peer"]["Name"])
        return ""

    def mesh_address(self, device: str = DEFAULT_DEVICE) -> IPv6Address | None:
        """The address in the mesh, read from the kernel; None without a device."""
        return self.namespace.address(device, "fd77")

    # -- by hand --------------------------------------------------------------------------

    def exec(self, argv: Sequence[str], *, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command in the node; its output is in the result."""
        return subprocess.run(
            self.namespace.command(argv),
            env=self.programs.environment(os.environ),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def link(self, state: str, interface: str = "eth0") -> None:
        """Set an underlay interface "up" or "down"."""
        self.namespace.ip([f"link set dev {interface} {state}"])

    def wait_connected(self, names: set[str], timeout: float) -> None:
        """Wait until exactly these peers, by name, are connected."""

        def there() -> bool:
            try:
                return self.connected() == names
            except LabError:  # not on the bus yet
                return False

        what = f"sessions of {self.name} with {', '.join(sorted(names)) or 'nobody'}"
        wait_until(there, what, timeout=timeout, interval=0.1)

    def close(self) -> None:
        """Stop listening to a node that is gone."""
        if self._notify:
            self._notify.close()
            self._notify = None
