"""The stand-in for bmx7 in guests, as their unit bmx7.service.

Its daemons reach each other through a directory that the guests share. It sets no routes, so
primary addresses are given to the link by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..discovery import bmx7_standin
from .guests import NAME, PATH

RUNTIME = "/run/bmx7"
_PROGRAM = "/usr/lib/bmx7_standin.py"
_COMMAND = f'#!/bin/sh\nexec /usr/bin/python3 -SE {_PROGRAM} command "$@"\n'


@dataclass(frozen=True)
class Daemon:
    """A node of the stand-in's mesh of two."""

    name: str
    address: str  # primary

    @property
    def node_id(self) -> str:
        return bmx7_standin.node_id_of(self.name)

    def install(self, root: Path, other: Daemon, *, air: str, runtime: str = RUNTIME) -> str:
        """Put it into a root file system, with the command bmx7; the unit's name."""
        (root / _PROGRAM[1:]).write_text(Path(bmx7_standin.__file__).read_text())
        command = root / "usr/sbin/bmx7"
        command.write_text(_COMMAND)
        command.chmod(0o755)
        unit = "bmx7.service" if runtime == RUNTIME else f"bmx7-{self.name}.service"
        (root / "etc/systemd/system" / unit).write_text(
            f"[Service]\nExecStart=/usr/bin/python3 {_PROGRAM} node --runtime={runtime}"
            f" --net={air} --name={self.name} --neighbours={other.name} --plugins=sms,json"
            f" --key=1 --address={self.address} --pace=1\n"
        )
        return unit

    def heard(self, runtime: str = RUNTIME) -> str:
        """A shell command that succeeds where this one's announcement is there."""
        return f"ls {runtime}/sms/rcvdSms | grep {self.node_id}:"

    def connected(self) -> str:
        """A shell command that succeeds where the service has this one as a connected peer."""
        peer = f"{PATH}/peer/{self.node_id.lower()}"
        return f"busctl get-property {NAME} {peer} {NAME}.Peer State | grep connected"


HERE = Daemon("here", "fd70::1")
THERE = Daemon("there", "fd70::2")
