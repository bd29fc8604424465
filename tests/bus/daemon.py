"""A private bus: the real dbus-daemon with the shipped policy, on a socket of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "dbus" / "org.bmx7.WireGuard1.conf"

# What Debian's system.conf allows and denies, without what it starts.
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
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
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  {includes}
</busconfig>
"""


class Daemon:
    """One bus at one address; it can be ended and started there again."""

    def __init__(self, directory: Path, *, policy: Path | None = POLICY) -> None:
        self._socket = directory / "bus"
        self._config = directory / "bus.conf"
        self.address = f"unix:path={self._socket}"
        self._log = directory / "log"
        includes = f"<include>{policy}</include>" if policy else ""
        self._config.write_text(_CONFIG.format(socket=self._socket, includes=includes))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it listens."""
        self._socket.unlink(missing_ok=True)
        reading, writing = os.pipe()
        with os.fdopen(reading) as ready:
            with self._log.open("a") as log:
                self._process = subprocess.Popen(
                    [
                        "/usr/bin/dbus-daemon",
                        f"--config-file={self._config}",
                        "--nofork",
                        "--nopidfile",
                        f"--print-address={writing}",
                    ],
                    pass_fds=[writing],
                    stderr=log,
                )
            os.close(writing)
            assert ready.readline().startswith(self.address), "dbus-daemon did not start"

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=10)
            self._process = None

    def said(self) -> list[str]:
        """What it complained about, but for a limit that only a real system bus may raise."""
        return [line for line in self._log.read_text().splitlines() if "fd limit" not in line]

    def pause(self) -> None:
        """It neither reads nor writes until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
