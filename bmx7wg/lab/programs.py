"""Which programs the nodes run: those of the tree that this file is in, or the installed ones."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .waiting import LabError

_PYTHON: Final = "/usr/bin/python3"
_PATH: Final = "/run/lab/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Programs:
    """The commands, and what they need to run."""

    kind: str  # "tree" | "installed"
    service: tuple[str, ...]
    client: tuple[str, ...]
    bus_policy: Path
    pythonpath: str = ""

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a program in a node; on top of *base*, if a person runs it."""
        env = dict(base) if base is not None else {"LANG": "C.UTF-8", "HOME": "/root"}
        for name in ("DBUS_SYSTEM_BUS_ADDRESS", "NOTIFY_SOCKET", "PYTHONPATH"):
            env.pop(name, None)
        env["PATH"] = _PATH
        if self.pythonpath:
            env["PYTHONPATH"] = self.pythonpath
        return env

    def wrappers(self) -> dict[str, str]:
        """Scripts by name that make the tree's programs be found on the nodes' PATH."""
        if self.kind == "installed":
            return {}
        commands = {"bmx7-wg": self.client, "bmx7-wgd": self.service}
        return {
            name: f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n'
            for name, command in commands.items()
        }


def find(kind: str = "") -> Programs:
    """The programs of *kind*, "tree" or "installed".

    When not said, ``BMX7WG_PROGRAMS`` decides, else where this very file lies.
    """
    root = Path(__file__).resolve().parents[2]
    kind = kind or os.environ.get("BMX7WG_PROGRAMS", "")
    if not kind:
        kind = "tree" if (root / "setup.cfg").exists() else "installed"
    policy = "org.bmx7.WireGuard1.conf"
    if kind == "tree":
        found = Programs(
            kind,
            service=(_PYTHON, "-m", "bmx7wg.service.command"),
            client=(_PYTHON, "-c", "from bmx7wg.cli.main import main; raise SystemExit(main())"),
            bus_policy=root / "dbus" / policy,
            pythonpath=str(root),
        )
    elif kind == "installed":
        found = Programs(
            kind,
            service=("/usr/sbin/bmx7-wgd",),
            client=("/usr/bin/bmx7-wg",),
            bus_policy=Path("/usr/share/dbus-1/system.d") / policy,
        )
    else:
        raise LabError(f"programs are 'tree' or 'installed', not {kind!r}")
    for file in (Path(found.service[0]), Path(found.client[0]), found.bus_policy):
        if not file.exists():
            raise LabError(f"{file} is missing; install bmx7-wg or run from the source tree")
    return found
