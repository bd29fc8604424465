"""Labs that stay up between commands: what is needed to find and end them again."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from .namespace import Namespace
from .waiting import LabError

DIRECTORY: Final = Path("/run/bmx7-wg-lab")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


@dataclass(frozen=True)
class Machine:
    """A machine of a lab; process id and start time as in `Namespace`."""

    name: str
    pid: int
    start_time: int

    def namespace(self) -> Namespace:
        return Namespace(self.name, self.pid, self.start_time)


@dataclass(frozen=True)
class Lab:
    """A lab that is up, or was when something ended it half-way."""

    name: str
    topology: str
    nodes: int
    programs: str
    machines: tuple[Machine, ...]

    def machine(self, name: str) -> Machine:
        for machine in self.machines:
            if machine.name == name:
                return machine
        names = ", ".join(machine.name for machine in self.machines)
        raise LabError(f"no node {name} in lab {self.name}; there are {names}")

    @property
    def alive(self) -> bool:
        return any(machine.namespace().alive for machine in self.machines)

    def save(self) -> None:
        DIRECTORY.mkdir(mode=0o755, exist_ok=True)
        path = _path(self.name)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1) + "\n")
        os.replace(new, path)

    def destroy(self) -> None:
        """End what is left of it, and forget it."""
        for machine in self.machines:
            machine.namespace().destroy()
        _path(self.name).unlink(missing_ok=True)


def load(name: str) -> Lab | None:
    """The lab of that name; None when there is none."""
    try:
        document = json.loads(_path(name).read_text())
        machines = tuple(Machine(**machine) for machine in document.pop("machines"))
        return Lab(**document, machines=machines)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LabError(f"{_path(name)} is damaged ({error}); remove it") from error


def names() -> list[str]:
    """The labs that there are."""
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise LabError(f"{name!r} is no name for a lab: letters, digits, '_', '.', '-'")
    return DIRECTORY / f"{name}.json"
