"""Forwarding is switched on, and put back where it was off, in a namespace of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bmx7wg.device.forwarding import MEMORY, UNIT, Direct

from .nodes import inside, run

NAME = f"fw{os.getpid()}"
SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
KEYS = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


@pytest.fixture(autouse=True)
def namespace():
    run("ip", "netns", "add", NAME)
    yield
    run("ip", "netns", "delete", NAME)


def sysctl(*arguments):
    return run("ip", "netns", "exec", NAME, "sysctl", "-n", *arguments).split()


class Script:
    """What the unit runs."""

    def __init__(self, memory):
        self._memory = memory

    def switch(self, on):
        subprocess.run(
            ["ip", "netns", "exec", NAME, str(SYSTEMD / "forwarding"), "on" if on else "off"],
            env={**os.environ, "RUNTIME_DIRECTORY": str(self._memory)},
            check=True,
        )


@pytest.fixture(params=["by ourselves", "by the script of the unit"])
def forwarding(request, tmp_path):
    if request.param == "by ourselves":
        with inside(NAME):
            yield Direct()
    else:
        yield Script(tmp_path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [("0", "0"), ("1", "0"), ("0", "1"), ("1", "1")])
def test_what_was_on_stays_on(forwarding, before):
    sysctl("-w", *(f"{key}={value}" for key, value in zip(KEYS, before)))
    for _ in range(2):
        forwarding.switch(True)
        assert sysctl(*KEYS) == ["1", "1"]
    for _ in range(2):
        forwarding.switch(False)
        assert tuple(sysctl(*KEYS)) == before


def test_what_others_switch_off_is_switched_on_again_and_off_at_the_end(forwarding):
    sysctl("-w", f"{KEYS[1]}=1")
    forwarding.switch(True)
    for _ in range(2):
        sysctl("-w", f"{KEYS[0]}=0")
        forwarding.switch(True)
        assert sysctl(*KEYS) == ["1", "1"]
    forwarding.switch(False)
    assert sysctl(*KEYS) == ["0", "1"]


def test_off_without_on_changes_nothing(forwarding):
    sysctl("-w", f"{KEYS[0]}=1")
    forwarding.switch(False)
    assert sysctl(*KEYS) == ["1", "0"]


def test_the_script_says_how_it_is_called():
    for arguments, environment in ((["on"], {}), (["x"], {"RUNTIME_DIRECTORY": "/nowhere"})):
        called = subprocess.run(
            [str(SYSTEMD / "forwarding"), *arguments],
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
        )
        assert called.returncode == 2 and "usage: forwarding on|off" in called.stderr


def test_the_unit_remembers_where_it_is_looked_for():
    text = (SYSTEMD / UNIT).read_text()
    assert f"RuntimeDirectory={MEMORY.relative_to('/run')}\n" in text
