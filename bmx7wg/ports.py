"""Which UDP ports are taken, by whomever and at whatever address; read, for we may not bind one."""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

# Of this thread's network namespace, and its own part of /proc: the sandbox shows no other.
_OURS: Final = Path("/proc/thread-self/net")
_FREE: Final = range(49152, 65536)  # RFC 6335 6: for whoever wants any
_STEP: Final = 0.002  # s


def free_port(wanted: int, present: int, patience: float = 0.0) -> int:
    """The wanted port; if another program has it, the present one or one that is free.

    Asked here because wireguard-go, told a busy port, is left without any. Waits *patience* seconds
    for the wanted one.
    """
    deadline = time.monotonic() + patience
    while wanted != present and wanted in (taken := taken_ports()):
        if time.monotonic() >= deadline:
            return present or _any_but(taken)
        time.sleep(_STEP)
    return wanted


def taken_ports(tables: Path = _OURS) -> frozenset[int]:
    """The local ports of all UDP sockets, also those of the kernel's own WireGuard (proc(5))."""
    taken: set[int] = set()
    for name in ("udp", "udp6"):
        with suppress(FileNotFoundError), open(tables / name, "rb") as lines:  # or without IPv6
            for line in islice(lines, 1, None):
                local = line.split(None, 2)[1]  # ADDRESS:PORT, hexadecimal
                taken.add(int(local.rpartition(b":")[2], 16))
    return frozenset(taken)


def _any_but(taken: frozenset[int]) -> int:
    from random import choice  # seldom needed, and slow to load

    return choice([port for port in _FREE if port not in taken])
