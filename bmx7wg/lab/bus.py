"""A node's system bus: a dbus-daemon of its own, and questions to it through busctl."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any, Final
from xml.sax.saxutils import escape

from .namespace import Namespace, Process
from .programs import Programs
from .waiting import LabError

_SOCKET: Final = "/run/dbus/system_bus_socket"
_CONFIG: Final = "/run/dbus/lab.conf"
_LOG: Final = "/run/dbus/lab.log"

# As Debian's system.conf, but nothing is activated: what runs in the lab was started by it.
_TEMPLATE: Final = """<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus"
           send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus"
           send_interface="org.freedesktop.DBus.Properties"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


class SystemBus:
    """The bus at its usual place in the node's /run."""

    def __init__(self, namespace: Namespace, programs: Programs) -> None:
        self._namespace = namespace
        self._environment = programs.environment()
        self._policy = programs.bus_policy
        self._daemon: Process | None = None

    def start(self) -> None:
        """Start the daemon, which must not be running; it listens when this returns."""
        self._namespace.path(_SOCKET).unlink(missing_ok=True)
        config = _TEMPLATE.format(socket=_SOCKET, policy=escape(str(self._policy)))
        self._namespace.path(_CONFIG).write_text(config)
        reading, writing = os.pipe()
        with os.fdopen(reading) as pipe, self._namespace.path(_LOG).open("w+") as log:
            with os.fdopen(writing, "w") as output:
                self._daemon = self._namespace.spawn(
                    ["dbus-daemon", f"--config-file={_CONFIG}", "--nofork", "--print-address=1"],
                    env=self._environment,
                    stdout=output,
                    stderr=log,
                )
            if not pipe.readline().startswith("unix:"):
                log.seek(0)
                raise LabError(f"{self._namespace.name}: dbus-daemon: {log.read().strip()}")

    def kill(self) -> None:
        """End the daemon without a word, as a crash does."""
        if self._daemon:
            self._daemon.signal(signal.SIGKILL)
            self._daemon.wait(5)

    def call(self, name: str, path: str, interface: str, method: str, *arguments: str) -> list[Any]:
        """The values that a method returns, as busctl writes them in JSON."""
        call = ("busctl", f"--address=unix:path={self._namespace.path(_SOCKET)}", "--json=short")
        done = subprocess.run(
            [*call, "call", name, path, interface, method, *arguments],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise LabError(f"{self._namespace.name}: {method}: {done.stderr.strip()}")
        return list(json.loads(done.stdout)["data"]) if done.stdout.strip() else []
