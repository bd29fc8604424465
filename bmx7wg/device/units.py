"""Units of systemd beside our own, and what is to become of ours; through systemctl(1).

The systemctl of root talks to systemd itself and not over the bus, which may be down.
"""

from __future__ import annotations

import logging
import string
import subprocess
from typing import Final

log = logging.getLogger("bmx7wg.device")

#: The unit of a wireguard-go; its instance is the name of the device.
WIREGUARD_GO: Final = "bmx7-wg-userspace@{}.service"

_TIMEOUT: Final = 10.0  # s for a job; starting takes 30 ms
_PLAIN: Final = frozenset(string.ascii_letters + string.digits + ":_.")


class UnitError(OSError):
    """systemd did not do it; the text has its answer."""


def start(unit: str) -> None:
    """Start a unit; returns once it runs. UnitError."""
    _systemctl("start", unit)


def restart(unit: str) -> None:
    """End a unit's processes, if there are any, and start it; returns once it runs. UnitError."""
    _systemctl("restart", unit)


def reload(unit: str) -> None:
    """Have a unit do what it does on a reload; returns once that is done. UnitError."""
    _systemctl("reload", unit)


def stop(unit: str) -> None:
    """Have a unit stopped, without waiting: it may be ordered to stop after us. UnitError."""
    _systemctl("stop", "--no-block", unit)


def job(unit: str) -> str:
    """What systemd is about to do with a unit, as a word of systemctl's ("restart", "stop").

    Empty if nothing. A unit that is being restarted has the job "restart" until all of its
    processes have ended, and "start" from then on. Raises UnitError.
    """
    # number, unit, type, state
    return (_systemctl("list-jobs", "--no-legend", "--full", unit).split() or [""] * 3)[2]


def will_run(unit: str) -> bool:
    """Whether a unit that ends is to be started again at once; if that is not known, it is."""
    try:
        return job(unit) in ("restart", "start")
    except UnitError as error:
        log.warning("not known whether %s is restarted, so all stays as it is: %s", unit, error)
        return True


def instance(template: str, name: str) -> str:
    """The unit of a template for a name of any characters (systemd.unit(5), systemd-escape)."""
    escaped = "".join(
        character if character in _PLAIN and (number or character != ".") else _escape(character)
        for number, character in enumerate(name)
    )
    return template.format(escaped)


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def _systemctl(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["systemctl", "--quiet", "--no-pager", "--no-ask-password", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise UnitError(
            f"systemd has not done it in {_TIMEOUT:g} s: {' '.join(arguments)}"
        ) from None
    except OSError as error:
        raise UnitError(f"systemctl can't be run: {error.strerror}") from error
    if done.returncode:
        first = done.stderr.strip().partition("\n")[0]
        raise UnitError(first or f"systemctl {' '.join(arguments)}: status {done.returncode}")
    return done.stdout
