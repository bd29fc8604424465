"""Who asks for the password when polkit wants one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def agent() -> Iterator[None]:
    """Meanwhile polkit may ask on this terminal, as pkttyagent(1) does, if nobody else asks.

    A desktop has an agent of its own, and comes first. Root is not asked.
    """
    program = shutil.which("pkttyagent")
    if program is None or os.geteuid() == 0 or not sys.stdin.isatty():
        yield
        return
    reading, writing = os.pipe()
    us = str(os.getpid())
    process = subprocess.Popen(
        [program, "--process", us, "--notify-fd", str(writing), "--fallback"], pass_fds=[writing]
    )
    os.close(writing)
    os.read(reading, 1)  # until it closes its end: it is registered, or it has failed
    os.close(reading)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
