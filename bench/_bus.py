"""A private bus with services on it, and a client that does no more than it must."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import _common  # noqa: F401  (it makes the program importable)

from bmx7wg.bus.names import BUS, BUS_PATH
from bmx7wg.bus.values import marshal
from bmx7wg.bus.wire import FIXED_HEADER, Kind, message, sizes
from bmx7wg.lab.waiting import LabError

SERVICES = Path(__file__).with_name("_bus_services.py")
TIMEOUT = 60.0  # s; for an answer
NOBODY = 65534

# As a system bus, with its limits, but everybody may own and call everything.
_CONFIG = """<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/>
    <allow send_destination="*"/> <allow send_type="signal"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


@contextmanager
def private_bus(directory: Path) -> Iterator[Path]:
    """A dbus-daemon in *directory*; its socket."""
    config, path = directory / "bus.conf", directory / "socket"
    config.write_text(_CONFIG.format(socket=path))
    daemon = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert daemon.stdout is not None
        if not daemon.stdout.readline().startswith(b"unix:"):
            raise LabError("dbus-daemon did not start")
        yield path
    finally:
        daemon.terminate()
        daemon.wait()


class Program:
    """A process of `_bus_services.py` that does what it is told, line by line."""

    def __init__(self, bus: Path, *arguments: object, user: int = 0) -> None:
        self._process = subprocess.Popen(
            ["/usr/bin/python3", str(SERVICES), *map(str, arguments)],
            env=os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=user,
        )
        self.begun = self.answer()  # the figure that it printed first

    def tell(self, command: str) -> float:
        """Have a command carried out; its figure."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LabError(f"{self._process.args}: ended")
        return float(line)

    def resident(self) -> int:
        """Its memory in bytes."""
        return resident(self._process.pid)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def resident(pid: int | str = "self") -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Caller:
    """A connection that sends calls and waits for the end of their answers."""

    def __init__(self, bus: Path) -> None:
        self._socket = connect(bus)
        self._serial = 1
        self._behind = b""  # what came behind the message that was read last
        self.call(BUS, BUS_PATH, BUS, "Hello")

    def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *arguments: object,
    ) -> float:
        """Seconds until the answer was there as a whole."""
        self._serial += 1
        data = message(
            Kind.CALL,
            self._serial,
            marshal(signature, arguments),
            path=path,
            interface=interface,
            member=member,
            destination=destination,
            signature=signature,
        )
        begin = time.perf_counter()
        self._socket.sendall(data)
        while True:
            kind = self._receive()
            if kind == Kind.RETURN:
                return time.perf_counter() - begin
            if kind == Kind.ERROR:
                raise LabError(f"{destination}: {member} failed")

    def _receive(self) -> int:
        """The kind of the next message, which is read and thrown away."""
        data = self._behind or self._more()
        while len(data) < FIXED_HEADER:
            data += self._more()
        kind, left = data[1], sum(sizes(data))
        while len(data) < left:
            left -= len(data)
            data = self._more()
        self._behind = data[left:]
        return kind

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 20)
        if not data:
            raise LabError("the bus ended the connection")
        return data

    def close(self) -> None:
        self._socket.close()


def connect(bus: Path) -> socket.socket:
    """A socket that the bus let in, before Hello."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(TIMEOUT)
    sock.connect(str(bus))
    sock.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
    if not sock.recv(1024).startswith(b"OK"):
        sys.exit("the bus does not let us in")
    sock.sendall(b"BEGIN\r\n")
    return sock
